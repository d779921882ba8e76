"""`fletching check`: configuration, Postfix, DNS, and what a daemon needs."""
