"""How the commands show things: on a terminal, in a pipe, or as lines of JSON."""
