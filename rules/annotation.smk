"""Annotation. In: the policy and the seeds. Out: OmegaPRM trees of each shard: nodes, rollouts, and each problem's status.

Steps: annotate, a shard each. `plan` measures beforehand what that will cost, and plans all other stages; it runs only as a
target of its own, and shares its journal with `annotate`.
"""


rule plan:
    """Measure on a few seeds what the annotation will cost, and plan all other stages."""
    input:
        policy="<results>/policy/manifest.json",
        seeds="<results>/seeds/seeds.parquet",
    output:
        "<results>/plan.json",
    log:
        "<logs>/plan.log",
    benchmark:
        "<benchmarks>/plan.tsv"
    retries: RETRIES
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.sampling,
    params:
        *SETTINGS.affects(
            "plan", "annotation", "sampling", "prompt", "seed", "grading.judge.identity", "engine", "shards", version=1
        ),
        *CONFIG.annotation.dense,
        config=RESOLVED,
        work=INPUTS.work("annotation"),
    shell:
        "mmprm plan --config {params.config:q} --policy {input.policy:q} --seeds {input.seeds:q}"
        " --work {params.work:q} --devices {resources.gpu} --out {output:q} 2> {log:q}"


rule annotate:
    """Search the trees of a shard's problems (OmegaPRM)."""
    input:
        policy="<results>/policy/manifest.json",
        seeds="<results>/seeds/seeds.parquet",
    output:
        nodes="<results>/annotation/{shard}/nodes.parquet",
        rollouts="<results>/annotation/{shard}/rollouts.parquet",
        status="<results>/annotation/{shard}/status.parquet",
    log:
        "<logs>/annotate/{shard}.log",
    benchmark:
        "<benchmarks>/annotate/{shard}.tsv"
    retries: RETRIES
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.sampling,
    params:
        *SETTINGS.affects("annotation", *SAMPLED, version=1),
        *CONFIG.annotation.dense,
        config=RESOLVED,
        work=INPUTS.work("annotation"),
    shell:
        "mmprm annotate --config {params.config:q} --policy {input.policy:q} --seeds {input.seeds:q}"
        " --shard {wildcards.shard} --work {params.work:q} --devices {resources.gpu} --out {output.nodes:q}"
        " > {log:q} 2>&1"


rule annotation:
    """Annotate all shards."""
    input:
        CHAINS.annotation,
        made=expand("<results>/annotation/{shard}/status.parquet", shard=INPUTS.shards("annotation")),
