"""The command line: one file a command. Commands import what is slow (torch, numpy) only when they run."""
