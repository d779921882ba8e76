"""What comes back over the web: a request becomes an answer and an event. Pure.

`hits.py` has the answer to each request, `bots.py` who was no person, `reader.py` what a request
tells of the one who reads: the address, behind proxies, and the language.
"""
