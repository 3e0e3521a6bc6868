"""Consensus filter of step labels (labels.consensus). In: the labelled paths and a judging model. Out: the paths kept.

Steps: judge_labels keeps a path where the model finds its first error at the same step; PRMs are trained on these.
"""


rule judge_labels:
    """Keep the paths whose first error a judging model finds at the same step."""
    input:
        seeds="<results>/seeds/seeds.parquet",
        paths="<results>/labels/paths.parquet",
    output:
        paths="<results>/labels/consensus.parquet",
        dropped="<results>/labels/consensus.dropped.parquet",
        counts="<results>/labels/consensus.json",
    log:
        "<logs>/judge_labels.log",
    benchmark:
        "<benchmarks>/judge_labels.tsv"
    conda:
        "../../envs/rollout.yaml"
    threads: HEAVY_THREADS if DEVICES.judge else 1
    resources:
        mem_mb=8000,
        gpu=DEVICES.judge,
    params:
        *SETTINGS.affects("seed", version=1),
        config=RESOLVED,
        judge=SETTINGS.judge,
        work=INPUTS.work("consensus"),
    shell:
        "mmprm judge-labels --config {params.config:q} --seeds {input.seeds:q} --paths {input.paths:q}"
        " --work {params.work:q}"
        " --devices {resources.gpu} --out {output.paths:q} --dropped {output.dropped:q} --counts {output.counts:q}"
        " > {log:q} 2>&1"
