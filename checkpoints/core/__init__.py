"""The steps of every load and save: which row holds a message, which writer may save, and what is cached."""
