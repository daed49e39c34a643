"""What loads and saves share: the open database, which row holds a message, which writer may save."""
