"""Links in a text. Knows no mail."""
