"""Labelled steps of published data sets as step paths (the schema of labels/paths.parquet), to train or to measure."""
