"""Ways in: what a person starts."""
