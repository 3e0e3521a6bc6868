"""Timing scripts: each module is a command that ends with one JSON line on stdout (`python -m perf.search`)."""
