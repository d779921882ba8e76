"""The product among real servers: Postfix, Redis, Dovecot, OpenDKIM, as Debian ships them."""
