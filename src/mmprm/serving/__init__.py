"""A PRM behind a server: vLLM's own, with a PRM's options, and what a client must know of it."""
