"""Failure drills: what holds while Redis is killed, fails over, hangs or is partitioned."""
