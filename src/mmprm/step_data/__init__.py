"""Labelled steps from elsewhere: training data and step benchmarks, as paths in the schema of labels/paths.parquet."""
