"""The milter: from libmilter's callbacks to edits, and the processes that serve them."""
