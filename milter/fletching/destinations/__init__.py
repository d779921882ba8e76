"""Where events are delivered: one file for each kind of destination, and what all of them share.

Here live the form in which a customer gets events, and what an answer means. Redis, threads and the
order of deliveries belong to `daemons/courier/delivery.py`.
"""
