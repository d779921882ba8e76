"""The web service behind tracked links."""
