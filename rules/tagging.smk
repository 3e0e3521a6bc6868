"""Step tagging. In: problem tables with solutions. Out: the same with their solutions in steps, and what was refused.

Steps: tag, for each source of kind tagged. Calls of a model are kept in a journal in the work folder.
"""


rule tag:
    """Rewrite solutions into steps and an answer."""
    input:
        INPUTS.parent_tables,
    output:
        problems="<results>/problems/{source}.parquet",
        refused="<results>/problems/{source}.refused.parquet",
        counts="<results>/problems/{source}.tagging.json",
    log:
        "<logs>/tag/{source}.log",
    benchmark:
        "<benchmarks>/tag/{source}.tsv"
    wildcard_constraints:
        source=INPUTS.of_kind("tagged"),
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.tagging_threads
    resources:
        mem_mb=8000,
        gpu=DEVICES.tagging,
    params:
        *SETTINGS.affects("seed", version=1),
        config=RESOLVED,
        source=SETTINGS.tagging,
        work=INPUTS.work("tagging"),
    shell:
        "mmprm tag --config {params.config:q} --source {wildcards.source} --problems {input:q} --work {params.work:q}"
        " --devices {resources.gpu} --out {output.problems:q} --refused {output.refused:q} --counts {output.counts:q}"
        " > {log:q} 2>&1"
