"""Curation of seeds: which problems of a pool are fit to be annotated, and which of them are a test.

In: problem tables. Out: the problems that are kept (`problems/{name}.parquet`), those that are set aside for a test,
those that are refused with their reasons, and the funnel.

    pictures, texts, questions, verifiable    what one problem shows: each a pure function of it
    signatures, journal                       that of all problems, made once, in processes, and kept
    near, duplicates, benchmarks              who is like whom: pictures, texts, benchmark problems
    mix, split                                the target mix, and the test by whole groups
    funnel, stage                             the counts, and the rules in their order
"""
