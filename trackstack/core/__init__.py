"""Decisions as pure functions of plain values: no input or output, no cloud SDK."""
