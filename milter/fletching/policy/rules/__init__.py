"""Which rules match a mail. Nothing is decided here about what they ask for."""
