"""Metrics for Prometheus: what each daemon counts, and the text that has all of it."""
