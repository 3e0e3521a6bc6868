"""What the rules need of Python: params, input paths, GPUs and the run's locks. Snakemake is imported in rules/."""
