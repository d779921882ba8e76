"""How an event is kept: held, in the journal, in Redis."""
