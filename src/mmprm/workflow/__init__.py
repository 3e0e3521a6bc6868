"""What the rules need of Python: params, input paths, GPUs and the run's locks. Snakemake itself is known to rules/."""
