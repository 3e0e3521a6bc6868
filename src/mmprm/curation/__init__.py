"""Curation of seeds: which problems of a pool are fit to be annotated, and which are held out for a test.

In: problem tables. Out: the kept problems (`problems/{name}.parquet`), the held-out test problems, the refused problems
with their reasons, and the funnel.

    pictures, texts, questions, verifiable    signatures of one problem: pure functions of it
    signatures, signature_journal             signatures of all problems, computed once, in processes, and stored
    similarity, duplicates, benchmarks        comparisons of pictures and texts, among problems and with benchmarks
    mix, heldout_test                         the target mix, and the test by whole groups
    row_rules, decisions, funnel, curate      the rules in their order, the counts, and the command
"""
