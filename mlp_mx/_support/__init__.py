"""Shared by modules and commands: command lines, files, progress bars and signals."""
