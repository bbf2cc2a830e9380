"""Runs as jobs: on this machine or on SLURM."""
