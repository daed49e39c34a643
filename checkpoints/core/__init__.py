"""The steps that every load and save share: which row is which message, who may write, what is remembered."""
