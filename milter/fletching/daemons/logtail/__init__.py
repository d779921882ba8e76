"""The log reader: finds deliveries in Postfix's log."""
