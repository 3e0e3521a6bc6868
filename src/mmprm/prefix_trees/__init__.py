"""Paths that begin alike as one sequence: packed, attended to and placed so that each token is computed once."""
