"""What several modules and all commands share: errors, files, progress, signals."""
