"""Tool calls: what is declared about a tool, how a call runs, and how its result becomes a message."""
