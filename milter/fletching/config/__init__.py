"""What an admin writes down: every option once, and how a file becomes a checked value."""
