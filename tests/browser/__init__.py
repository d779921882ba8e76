"""The dashboard in Debian's Chromium, which nobody here wrote."""
