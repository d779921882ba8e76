"""Finding a message, and telling its life in words; for the terminal and the dashboard alike."""
