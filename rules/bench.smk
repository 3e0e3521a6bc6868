"""Bench. In: benchmark problems, the policy, the PRMs. Out: N candidates a problem, their scores, and Best-of-N."""


rule sample_candidates:
    input:
        policy="<results>/policy/manifest.json",
        problems=benchmark_problems,
    output:
        candidates="<results>/bench/{benchmark}/shards/{shard}.parquet",
    log:
        "<logs>/sample_candidates/{benchmark}/{shard}.log",
    benchmark:
        "<benchmarks>/sample_candidates/{benchmark}/{shard}.tsv"
    retries: 1  # an engine that died is started again, and goes on from the journal
    conda:
        "../envs/rollout.yaml"
    threads: HEAVY_THREADS
    resources:
        mem_mb=16000,
        gpu=SAMPLING_GPU,
    params:
        *affects("bench.n", *SAMPLED, version=1),
        config=RESOLVED,
        work=work("bench/{benchmark}"),
    shell:
        "mmprm sample-candidates --config {params.config} --benchmark {wildcards.benchmark}"
        " --policy {input.policy} --problems {input.problems} --shard {wildcards.shard}"
        " --work {params.work} --out {output.candidates} > {log} 2>&1"


rule gather_candidates:
    input:
        expand(
            "<results>/bench/{{benchmark}}/shards/{shard}.parquet",
            shard=shards("bench"),
        ),
    output:
        "<results>/bench/{benchmark}/candidates.parquet",
    log:
        "<logs>/gather_candidates/{benchmark}.log",
    benchmark:
        "<benchmarks>/gather_candidates/{benchmark}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *affects(version=1),
    shell:
        "mmprm gather-candidates --shards {input} --out {output} > {log} 2>&1"


rule score_candidates:
    input:
        prm="<results>/prm/{variant}/manifest.json",
        problems=benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
    output:
        "<results>/bench/{benchmark}/{variant}/scores.parquet",
    log:
        "<logs>/score_candidates/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/score_candidates/{benchmark}/{variant}.tsv"
    conda:
        "../envs/rollout.yaml"
    threads: HEAVY_THREADS
    resources:
        mem_mb=16000,
        gpu=1,
    params:
        *affects("prompt", "engine.max_model_len", version=1),
        config=RESOLVED,
    shell:
        "mmprm score-candidates --config {params.config} --prm {input.prm} --problems {input.problems}"
        " --candidates {input.candidates} --out {output} > {log} 2>&1"


rule measure:
    input:
        problems=benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
        scores="<results>/bench/{benchmark}/{variant}/scores.parquet",
        outcome=outcome_scores,
    output:
        "<results>/bench/{benchmark}/{variant}/metrics.json",
    log:
        "<logs>/measure/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/measure/{benchmark}/{variant}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *affects("bench.n", "bench.primary", "bench.confidence", "bench.resamples", "seed", version=2),
        config=RESOLVED,
        benchmark=benchmark_settings,
    shell:
        "mmprm measure --config {params.config} --benchmark {wildcards.benchmark} --variant {wildcards.variant}"
        " --problems {input.problems} --candidates {input.candidates} --scores {input.scores}"
        " --outcome {input.outcome} --out {output} > {log} 2>&1"


rule summarise:
    input:
        metrics=expand(
            "<results>/bench/{benchmark}/{variant}/metrics.json",
            benchmark=CONFIG.benchmarks,
            variant=CONFIG.prm.variants,
        ),
    output:
        "<results>/bench/summary.json",
    log:
        "<logs>/summarise.log",
    benchmark:
        "<benchmarks>/summarise.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *affects(version=1),
        config=RESOLVED,
    shell:
        "mmprm summarise --config {params.config} --metrics {input.metrics} --out {output} > {log} 2>&1"


rule bench:
    input:
        "<results>/bench/summary.json",
