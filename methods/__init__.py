"""Methods, one file each; see ``methods/base.py`` for what a method is."""
