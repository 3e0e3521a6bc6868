"""Policy. In: a base model and step-tagged solutions. Out: the fine-tuned model, `policy/`.

Steps: train_policy. `mini_base` makes the base model of the mini world, which is kept in models/.
"""


rule train_policy:
    """Fine-tune the base model on step-tagged solutions."""
    input:
        base=ancient(INPUTS.base_model),
        problems=expand("<results>/problems/{source}.parquet", source=CONFIG.policy.sources),
    output:
        manifest="<results>/policy/manifest.json",
    log:
        "<logs>/train_policy.log",
    benchmark:
        "<benchmarks>/train_policy.tsv"
    conda:
        "../envs/train.yaml"
    threads: DEVICES.policy_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.policy,
    params:
        *SETTINGS.affects("policy.base", "policy.training", "policy.images.max_pixels", "prompt", "seed", version=1),
        *SETTINGS.source_weights(),
        config=RESOLVED,
        base=SETTINGS.base_model,
        work=INPUTS.work("policy"),
    shell:
        "mmprm train-policy --config {params.config:q} --problems {input.problems:q}"
        " --work {params.work:q} --devices {resources.gpu} --out {output.manifest:q} > {log:q} 2>&1"


rule policy:
    """Train the policy."""
    input:
        CHAINS.policy,
        made="<results>/policy/manifest.json",


rule mini_base:
    """Train the base model of the mini world."""
    output:
        manifest="models/mini-base/manifest.json",
    log:
        "<logs>/mini_base.log",
    benchmark:
        "<benchmarks>/mini_base.tsv"
    conda:
        "../envs/train.yaml"
    threads: HEAVY_THREADS
    resources:
        mem_mb=16000,
        gpu=1,
    params:
        *SETTINGS.affects(version=1),
        work="results/mini-base/work",
    shell:
        "mmprm mini-base --work {params.work:q} --devices {resources.gpu} --out {output.manifest:q} > {log:q} 2>&1"
