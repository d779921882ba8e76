"""Fletching: a campaign filter for Postfix."""
