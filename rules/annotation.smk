"""Annotation. In: the policy and the seeds. Out: OmegaPRM trees of each shard: nodes, rollouts, and each problem's status."""


rule annotate:
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
    conda:
        "../envs/rollout.yaml"
    threads: HEAVY_THREADS
    resources:
        mem_mb=16000,
        gpu=1,
    params:
        *affects("annotation", "sampling", "prompt", "seed", "engine.max_model_len", version=1),
        config=RESOLVED,
        work=work("annotation"),
    shell:
        "mmprm annotate --config {params.config} --policy {input.policy} --seeds {input.seeds}"
        " --shard {wildcards.shard} --work {params.work} --out {output.nodes} > {log} 2>&1"


rule annotation:
    input:
        expand("<results>/annotation/{shard}/status.parquet", shard=shards("annotation")),
