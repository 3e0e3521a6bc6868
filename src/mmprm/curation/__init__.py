"""Curation of seeds: which problems of a pool are fit to be annotated, and which are held out for a test.

pictures, texts, questions, verifiable    signatures of one problem: pure functions of it
signatures                                signatures of all problems, computed once, in processes, and stored
similarity, duplicates, benchmarks        comparisons of pictures and texts, among problems and with benchmarks
mix                                       the target mix, and the test by whole groups
decisions, funnel, curate                 the rules in their order, the counts, and the commands
"""
