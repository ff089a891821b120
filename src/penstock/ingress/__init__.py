"""SMTP sessions that bring mail in."""
