"""Sealed tests: problems drawn at the first look, a ledger of looks, and what was claimed beforehand."""
