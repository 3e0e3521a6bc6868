"""Curation of seeds. In: problem tables. Out: the problems that are fit to be seeds, a test set aside, and why the others are not."""
