"""``python -m loadtest`` is the command line."""

from loadtest.cli import main

main()
