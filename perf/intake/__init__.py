"""The timing of intake and curation, over a synthetic pool with planted faults: `python -m perf.intake`."""
