"""Tests of the whole house."""

import os

# Before torch and numpy are loaded. Tests run in several processes, and where these have more threads than the machine
# has processors they mostly wait for each other: a suite of three minutes then takes nine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
