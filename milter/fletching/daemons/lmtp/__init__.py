"""The LMTP service: receives returned mail from Postfix."""
