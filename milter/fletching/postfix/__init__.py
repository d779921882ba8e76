"""All that is known of Postfix's own files."""
