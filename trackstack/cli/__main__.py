"""``python -m trackstack.cli``."""

from trackstack.cli import main

main()
