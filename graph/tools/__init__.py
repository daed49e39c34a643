"""Tools: what is declared about one, how a call runs, and how its result becomes a message."""
