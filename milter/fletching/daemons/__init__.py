"""The edges: processes that listen, and what they need of the operating system."""
