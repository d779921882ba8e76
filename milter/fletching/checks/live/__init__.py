"""`fletching check --live`: what comes of a mail, its links and its signatures (docs/check.md)."""
