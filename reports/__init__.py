"""Reports of stored runs: tables, plots and output formats."""
