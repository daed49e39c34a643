"""Where conversations live: a LangGraph checkpointer that keeps every message once, as a row."""
