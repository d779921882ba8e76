"""The way of a mail out, without any I/O: `flow.py` is the page to read first."""
