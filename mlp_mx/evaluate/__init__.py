"""Whether a saved model is as accurate as its file says: a command."""
