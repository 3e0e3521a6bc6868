"""Seeds. In: the policy and the problem pool. Out: graded rollouts, the problems worth annotating, and every decision.

Steps: sample_seeds, a shard each > select_seeds.
"""


rule sample_seeds:
    """Sample and grade rollouts of a shard's problems."""
    input:
        policy="<results>/policy/manifest.json",
        problems=expand("<results>/problems/{source}.parquet", source=CONFIG.seeds.sources),
    output:
        rollouts="<results>/seeds/{shard}/rollouts.parquet",
    log:
        "<logs>/sample_seeds/{shard}.log",
    benchmark:
        "<benchmarks>/sample_seeds/{shard}.tsv"
    retries: RETRIES
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.sampling,
    params:
        *SETTINGS.affects("seeds.rollouts", *SAMPLED, version=2),
        *CONFIG.seeds.drawing,
        config=RESOLVED,
        work=INPUTS.work("seeds"),
    shell:
        "mmprm sample-seeds --config {params.config:q} --policy {input.policy:q} --problems {input.problems:q}"
        " --shard {wildcards.shard} --work {params.work:q} --devices {resources.gpu} --out {output.rollouts:q}"
        " > {log:q} 2>&1"


rule select_seeds:
    """Keep the problems that the policy sometimes solves."""
    input:
        problems=expand("<results>/problems/{source}.parquet", source=CONFIG.seeds.sources),
        rollouts=expand("<results>/seeds/{shard}/rollouts.parquet", shard=INPUTS.shards("seeds")),
    output:
        seeds="<results>/seeds/seeds.parquet",
        decisions="<results>/seeds/decisions.parquet",
        statistics="<results>/seeds/statistics.json",
    log:
        "<logs>/select_seeds.log",
    benchmark:
        "<benchmarks>/select_seeds.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects(
            *("seeds.rollouts", "seeds.min_pass_rate", "seeds.max_pass_rate", "seeds.max_seeds", "seed"),
            version=2,
        ),
        *CONFIG.seeds.drawing,
        *CONFIG.seeds.comparison,
        config=RESOLVED,
        rollouts=INPUTS.every("seeds", "seeds/{shard}/rollouts.parquet"),
    shell:
        "mmprm select-seeds --config {params.config:q} --problems {input.problems:q} --rollouts {params.rollouts:q}"
        " --seeds {output.seeds:q} --decisions {output.decisions:q} --statistics {output.statistics:q} > {log:q} 2>&1"


rule seeds:
    """Choose the seeds."""
    input:
        CHAINS.seeds,
        made=rules.select_seeds.output,
