"""Files with secrets: link keys, DKIM keys, and one way to read and write them."""
