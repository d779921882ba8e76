"""Shared state in Redis. Our words in, our words out."""
