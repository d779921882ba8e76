"""The courier: takes events to their destinations."""
