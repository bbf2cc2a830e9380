"""Live curves of runs in other programs: one file for each logger."""
