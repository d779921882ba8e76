"""What comes back over the web: a request becomes an answer and an event. Pure.

`hits.py` answers each request; `redirects.py` says where it leads. `bots.py` and `bursts.py` decide
whether a program sent it, `visitor.py` from which address, behind proxies, and in which language.
"""
