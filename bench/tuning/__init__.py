"""Search for settings on the tuning variant of a split, by Optuna."""
