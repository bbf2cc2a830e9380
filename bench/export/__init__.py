"""Networks for other programs: a file, its preprocessing, a model card."""
