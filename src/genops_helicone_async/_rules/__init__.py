"""Decisions: pure functions; time and randomness are arguments."""
