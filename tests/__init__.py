"""Tests of the whole house."""

import atexit
import gc
import os
import sys

# Before torch and numpy are loaded. Tests run in several processes, and where these have more threads than the machine
# has processors they mostly wait for each other: a suite of three minutes then takes nine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Compiled modules are kept, also on machines that keep none: every process would compile all of them again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Imports make a million objects that stay: garbage collection meanwhile, and at the exit, takes a third of their time.
gc.set_threshold(200_000, 20, 100)
atexit.register(gc.freeze)
