"""What a mail is, whoever needs it. Knows no campaign and no configuration."""
