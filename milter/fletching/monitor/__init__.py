"""Looking for seed copies in seed mailboxes."""
