"""How fast it is. Nothing here is a test."""
