"""Step tagging. In: problem tables with solutions. Out: the same with their solutions in steps, and what was refused."""
