"""Token sequences that share prefixes, as one sequence in which each shared token is computed once."""
