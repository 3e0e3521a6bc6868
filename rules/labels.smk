"""Labels. In: the seeds and the trees of all shards. Out: one table of step paths with counts, and its statistics.

Steps: read_steps (labelled steps from elsewhere; those of labels.extra join the table) > gather_labels, and
gather_label_set for each of labels.sets > measure_labels, which compares labels with the truth of drawn problems.
"""


rule read_steps:
    """Read labelled steps from elsewhere into step paths."""
    input:
        data=INPUTS.step_files,
        benchmarks=INPUTS.tested_problems,
    output:
        paths="<results>/step_data/{steps}/paths.parquet",
        problems="<results>/step_data/{steps}/problems.parquet",
        refused="<results>/step_data/{steps}/refused.parquet",
    log:
        "<logs>/read_steps/{steps}.log",
    benchmark:
        "<benchmarks>/read_steps/{steps}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("intake", version=1),
        config=RESOLVED,
        data=SETTINGS.entry("step_data", "steps"),
    shell:
        "mmprm read-steps --config {params.config:q} --name {wildcards.steps}"
        " --benchmarks {input.benchmarks:q} --out {output.paths:q} > {log:q} 2>&1"


rule step_data:
    """Read all entries of step_data."""
    input:
        expand("<results>/step_data/{steps}/paths.parquet", steps=CONFIG.step_data),
        expand("<results>/step_data/{steps}/problems.parquet", steps=CONFIG.step_data),
        expand("<results>/step_data/{steps}/refused.parquet", steps=CONFIG.step_data),


rule gather_labels:
    """Gather labelled step paths from the trees of all shards."""
    input:
        seeds="<results>/seeds/seeds.parquet",
        nodes=expand("<results>/annotation/{shard}/nodes.parquet", shard=INPUTS.shards("annotation")),
        rollouts=expand("<results>/annotation/{shard}/rollouts.parquet", shard=INPUTS.shards("annotation")),
        status=expand("<results>/annotation/{shard}/status.parquet", shard=INPUTS.shards("annotation")),
        extra=INPUTS.extra_steps("paths.parquet"),
    output:
        paths="<results>/labels/paths.parquet",
        statistics="<results>/labels/statistics.json",
    log:
        "<logs>/gather_labels.log",
    benchmark:
        "<benchmarks>/gather_labels.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("labels", "seed", version=4),
        config=RESOLVED,
        trees=INPUTS.every("annotation", "annotation/{shard}"),
        of="",
    shell:
        "mmprm gather-labels --config {params.config:q} {params.of} --seeds {input.seeds:q} --shards {params.trees:q}"
        " --extra {input.extra:q} --out {output.paths:q} --statistics {output.statistics:q} > {log:q} 2>&1"


use rule gather_labels as gather_label_set with:
    output:
        paths="<results>/labels/{label_set}/paths.parquet",
        statistics="<results>/labels/{label_set}/statistics.json",
    log:
        "<logs>/gather_label_set/{label_set}.log",
    benchmark:
        "<benchmarks>/gather_label_set/{label_set}.tsv"
    params:
        *SETTINGS.affects("labels", "seed", version=4),
        config=RESOLVED,
        trees=INPUTS.every("annotation", "annotation/{shard}"),
        of="--set {label_set}",
        settings=SETTINGS.label_set,


rule measure_labels:
    """Compare the labels with the truth of drawn problems."""
    input:
        seeds="<results>/seeds/seeds.parquet",
        paths="<results>/labels/paths.parquet",
        nodes=expand("<results>/annotation/{shard}/nodes.parquet", shard=INPUTS.shards("annotation")),
        rollouts=expand("<results>/annotation/{shard}/rollouts.parquet", shard=INPUTS.shards("annotation")),
        agreed=INPUTS.judged[:1],
    output:
        "<results>/labels/quality.json",
    log:
        "<logs>/measure_labels.log",
    benchmark:
        "<benchmarks>/measure_labels.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("bench.confidence", "bench.resamples", "seed", version=1),
        config=RESOLVED,
        trees=INPUTS.every("annotation", "annotation/{shard}"),
    shell:
        "mmprm measure-labels --config {params.config:q} --seeds {input.seeds:q} --paths {input.paths:q}"
        " --shards {params.trees:q} --agreed {input.agreed:q} --out {output:q} > {log:q} 2>&1"


rule labels:
    """Make all label tables."""
    input:
        CHAINS.annotation,
        INPUTS.extra_steps("paths.parquet"),
        made=[
            "<results>/labels/paths.parquet",
            "<results>/labels/statistics.json",
            *INPUTS.judged,
            *expand("<results>/labels/{label_set}/paths.parquet", label_set=CONFIG.labels.sets),
            *INPUTS.label_accuracy,
        ],
