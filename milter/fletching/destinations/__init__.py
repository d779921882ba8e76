"""Where events go: one file for each way out, and the rules that all share.

Here live the form in which a customer gets events and what an answer means. Redis, threads and the
order of deliveries may not be known here: those are `daemons/courier/delivery.py`'s.
"""
