"""The commands: each file is one, and is imported because it is there."""
