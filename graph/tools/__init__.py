"""Tools: declarations about a tool, the run of a call, and its result as a message."""
