"""An example plug-in for ``bench``: one file for each addition."""
