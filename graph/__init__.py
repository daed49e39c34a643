"""One turn of the agent: a model, one task a tool call, and a person who is asked first."""
