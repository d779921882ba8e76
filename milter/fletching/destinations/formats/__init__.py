"""The formats in which a webhook gets events: our own, and those that other programs listen for.

Each file is one format: events in, the body of a request out. Pure.
"""
