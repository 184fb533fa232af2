"""Ours beside stock, in one run: ``python -m tests.bench``."""
