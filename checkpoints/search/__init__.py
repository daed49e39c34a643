"""Full text search over the messages of a database."""
