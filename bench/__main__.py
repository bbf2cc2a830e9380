"""``python -m bench`` is the program ``bench``."""

from bench.cli.main import main

main()
