"""Databases: SQLite and PostgreSQL behind one interface, `base`."""
