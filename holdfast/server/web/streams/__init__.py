"""Streams of a turn: its events while it goes on, and what is on record for a client that comes back."""
