"""A command that checks whether a saved model is as accurate as its file says."""
