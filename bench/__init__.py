"""Benchmarks: Holdfast's checkpointer beside LangGraph's own, in one run."""
