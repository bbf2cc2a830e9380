"""An example of a package that adds to ``bench``: one file for each thing that it adds, and no code here."""
