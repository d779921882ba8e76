"""What comes back, over the web and by mail. Pure.

Over the web, a request becomes an answer and an event. `hits.py` answers each request;
`redirects.py` says where it leads. `bots.py` and `bursts.py` decide whether a program sent it,
`visitor.py` from which address, behind proxies, and in which language.

By mail, `reading.py` says what a mail is, and `classify.py` why a message was not delivered, by the
tables beside it. `attribution.py` says which message a mail is about, and which events follow.
"""
