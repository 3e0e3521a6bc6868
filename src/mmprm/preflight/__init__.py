"""What a run needs and costs, before anything is spent: missing files, memory, token budgets, disk, GPU-hours.

In: the configuration, the base model's configuration and file headers, what the machine or `hardware` has. Out:
findings, each with the key to change, and a cost of each stage. Arithmetic alone: neither torch nor transformers is
imported, except by `trial`.
"""
