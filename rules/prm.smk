"""PRM. In: the policy and the labelled paths. Out: a model a variant, and its metrics on held-out problems.

Steps: train_prm > evaluate_prm; of a published PRM (prm.variants, external) take_prm alone.
"""


rule train_prm:
    """Train a PRM variant, from the policy's weights."""
    input:
        policy="<results>/policy/manifest.json",
        seeds="<results>/seeds/seeds.parquet",
        paths=INPUTS.training_paths,
        extra=INPUTS.extra_steps("problems.parquet"),
    output:
        manifest="<results>/prm/{variant}/manifest.json",
    log:
        "<logs>/train_prm/{variant}.log",
    benchmark:
        "<benchmarks>/train_prm/{variant}.tsv"
    wildcard_constraints:
        variant=INPUTS.trained,
    conda:
        "../envs/train.yaml"
    threads: DEVICES.prm_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.prm,
    params:
        *SETTINGS.affects("prm.marker_init", "prompt", "seed", version=1),
        config=RESOLVED,
        recipe=SETTINGS.training,
        work=INPUTS.work("prm/{variant}"),
    shell:
        "mmprm train-prm --config {params.config:q} --variant {wildcards.variant} --policy {input.policy:q}"
        " --seeds {input.seeds:q} --paths {input.paths:q} --extra {input.extra:q} --work {params.work:q}"
        " --devices {resources.gpu} --out {output.manifest:q} > {log:q} 2>&1"


rule take_prm:
    """Check a published PRM, and note what it is, in place of a training."""
    input:
        INPUTS.external_file,
    output:
        "<results>/prm/{variant}/manifest.json",
    log:
        "<logs>/take_prm/{variant}.log",
    benchmark:
        "<benchmarks>/take_prm/{variant}.tsv"
    wildcard_constraints:
        variant=INPUTS.external,
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *SETTINGS.affects(version=1),
        config=RESOLVED,
        asked=SETTINGS.external,
    shell:
        "mmprm take-prm --config {params.config:q} --variant {wildcards.variant} --out {output:q} > {log:q} 2>&1"


rule evaluate_prm:
    """Evaluate a PRM variant on held-out problems."""
    input:
        policy="<results>/policy/manifest.json",
        prm="<results>/prm/{variant}/manifest.json",
        seeds="<results>/seeds/seeds.parquet",
        paths="<results>/labels/paths.parquet",
        rollouts=expand("<results>/annotation/{shard}/rollouts.parquet", shard=INPUTS.shards("annotation")),
    output:
        "<results>/prm/{variant}.heldout.json",
    log:
        "<logs>/evaluate_prm/{variant}.log",
    benchmark:
        "<benchmarks>/evaluate_prm/{variant}.tsv"
    conda:
        "../envs/train.yaml"
    threads: DEVICES.prm_threads
    resources:
        mem_mb=16000,
        gpu=1,
    params:
        *SETTINGS.affects("prm.marker_init", "prompt", "seed", version=1),
        config=RESOLVED,
        trees=INPUTS.every("annotation", "annotation/{shard}"),
        recipe=SETTINGS.variant,
    shell:
        "mmprm evaluate-prm --config {params.config:q} --variant {wildcards.variant} --policy {input.policy:q}"
        " --prm {input.prm:q} --seeds {input.seeds:q} --paths {input.paths:q} --shards {params.trees:q}"
        " --devices {resources.gpu} --out {output:q} > {log:q} 2>&1"


rule prm:
    """Train and evaluate all PRM variants, each in prm.replicates trainings."""
    input:
        CHAINS.prm,
        made=[
            *expand("<results>/prm/{variant}/manifest.json", variant=CONFIG.prm.models),
            *expand("<results>/prm/{variant}.heldout.json", variant=CONFIG.prm.trained_models),
        ],
