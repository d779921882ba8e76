"""What the large mailbox providers demand of bulk mail, judged on one mail (docs/lint.md)."""
