"""Training, and what it leaves."""
