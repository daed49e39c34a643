"""The primary server of PostgreSQL is killed under load, and its standby takes over."""
