"""What is decided about a mail. Sees no body and asks no store."""
