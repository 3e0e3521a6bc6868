"""Guided decoding. In: benchmark problems, the policy, the PRMs. Out: what each strategy chooses, and its cost.

Steps: decode_guided, a shard each > measure_guided.
"""


rule decode_guided:
    """Decode a shard's benchmark problems with a PRM as guide."""
    input:
        policy="<results>/policy/manifest.json",
        prm="<results>/prm/{variant}/manifest.json",
        problems=INPUTS.benchmark_problems,
    output:
        "<results>/guided/{benchmark}/{variant}/{strategy}/{shard}.parquet",
    log:
        "<logs>/decode_guided/{benchmark}/{variant}/{strategy}/{shard}.log",
    benchmark:
        "<benchmarks>/decode_guided/{benchmark}/{variant}/{strategy}/{shard}.tsv"
    retries: RETRIES
    conda:
        "../../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.model,
    params:
        *SETTINGS.affects("bench.primary", *SAMPLED, version=1),
        config=RESOLVED,
        strategy=SETTINGS.strategy,
        work=INPUTS.work("guided/{benchmark}"),
    shell:
        "mmprm decode-guided --config {params.config:q} --strategy {wildcards.strategy}"
        " --benchmark {wildcards.benchmark}"
        " --policy {input.policy:q} --prm {input.prm:q} --problems {input.problems:q} --shard {wildcards.shard}"
        " --work {params.work:q} --devices {resources.gpu} --out {output:q} > {log:q} 2>&1"


rule measure_guided:
    """Measure what guided decoding chose, and its cost."""
    input:
        problems=INPUTS.benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
        scores="<results>/bench/{benchmark}/{variant}/scores.parquet",
        decoded=expand(
            "<results>/guided/{{benchmark}}/{{variant}}/{strategy}/{shard}.parquet",
            strategy=CONFIG.guided,
            shard=INPUTS.shards("bench"),
        ),
    output:
        "<results>/bench/{benchmark}/{variant}/guided.json",
    log:
        "<logs>/measure_guided/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/measure_guided/{benchmark}/{variant}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("bench.n", "bench.primary", "bench.confidence", "bench.resamples", "seed", version=1),
        config=RESOLVED,
    shell:
        "mmprm measure-guided --config {params.config:q} --benchmark {wildcards.benchmark}"
        " --variant {wildcards.variant}"
        " --problems {input.problems:q} --candidates {input.candidates:q} --scores {input.scores:q}"
        " --decoded {input.decoded:q} --out {output:q} > {log:q} 2>&1"


rule guided:
    """Measure guided decoding on all benchmarks and variants."""
    input:
        CHAINS.bench,
        INPUTS.guided_measures,
