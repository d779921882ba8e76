"""The one life of a daemon: open, listen, fork, reload, drain, end."""
