"""What the operator asks: is it right, what would happen, what do I have to write where."""
