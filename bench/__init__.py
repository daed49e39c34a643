"""Side-by-side measurements of checkpointers, ours beside the stock ones, in one run."""
