"""What this process keeps of the threads used last, so that it need not read it again."""
