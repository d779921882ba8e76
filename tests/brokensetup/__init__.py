"""Broken set-ups, and what `fletching check --live` must say about each."""
