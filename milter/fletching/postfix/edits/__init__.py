"""Edits of main.cf and master.cf as texts, which change nothing else. Pure."""
