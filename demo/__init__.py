"""`make demo`: a campaign through a private Postfix, before and after side by side."""
