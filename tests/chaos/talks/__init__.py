"""What processes do that talk, approve and have effects in threads, and the verdict about what they leave."""
