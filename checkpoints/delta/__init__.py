"""`DeltaChannel`s, LangGraph's channels whose value is in the writes on the ancestors of a checkpoint."""
