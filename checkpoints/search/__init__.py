"""Search of what was said, with the full text of each database."""
