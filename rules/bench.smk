"""Bench. In: benchmark problems, the policy, the PRMs. Out: N candidates a problem, their scores, and Best-of-N.

Steps: sample_candidates > gather_candidates > score_candidates > measure, or of several trainings of a variant
measure_trainings > summarise. Step benchmarks are labelled
solutions from elsewhere, on which the PRMs' verdicts of steps are measured: score_steps > measure_steps.
"""


rule sample_candidates:
    """Sample N candidates for each of a shard's benchmark problems."""
    input:
        policy="<results>/policy/manifest.json",
        problems=INPUTS.benchmark_problems,
    output:
        candidates="<results>/bench/{benchmark}/shards/{shard}.parquet",
    log:
        "<logs>/sample_candidates/{benchmark}/{shard}.log",
    benchmark:
        "<benchmarks>/sample_candidates/{benchmark}/{shard}.tsv"
    priority: -1  # nothing but the score waits for it: the PRM, which takes longer, comes first
    retries: RETRIES
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.sampling,
    params:
        *SETTINGS.affects("bench.n", *SAMPLED, version=1),
        config=RESOLVED,
        work=INPUTS.work("bench/{benchmark}"),
    shell:
        "mmprm sample-candidates --config {params.config:q} --benchmark {wildcards.benchmark}"
        " --policy {input.policy:q} --problems {input.problems:q} --shard {wildcards.shard}"
        " --work {params.work:q} --devices {resources.gpu} --out {output.candidates:q} > {log:q} 2>&1"


rule gather_candidates:
    """Join the candidates of all shards."""
    input:
        expand(
            "<results>/bench/{{benchmark}}/shards/{shard}.parquet",
            shard=INPUTS.shards("bench"),
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
        *SETTINGS.affects(version=1),
        shards=INPUTS.every("bench", "bench/{benchmark}/shards/{shard}.parquet"),
    shell:
        "mmprm gather-candidates --shards {params.shards:q} --out {output:q} > {log:q} 2>&1"


rule score_candidates:
    """Score each step of the candidates with a PRM."""
    input:
        prm="<results>/prm/{variant}/manifest.json",
        problems=INPUTS.benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
    output:
        "<results>/bench/{benchmark}/{variant}/scores.parquet",
    log:
        "<logs>/score_candidates/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/score_candidates/{benchmark}/{variant}.tsv"
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.scoring,
    params:
        *SETTINGS.affects("prompt", "engine.max_model_len", version=1),
        config=RESOLVED,
    shell:
        "mmprm score-candidates --config {params.config:q} --prm {input.prm:q} --problems {input.problems:q}"
        " --candidates {input.candidates:q} --devices {resources.gpu} --out {output:q} > {log:q} 2>&1"


rule measure:
    """Measure Best-of-N, beside random, majority and oracle."""
    input:
        problems=INPUTS.benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
        scores="<results>/bench/{benchmark}/{variant}/scores.parquet",
        outcome=INPUTS.outcome_scores,
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
        *SETTINGS.affects("bench.n", "bench.primary", "bench.confidence", "bench.resamples", "seed", version=2),
        config=RESOLVED,
        benchmark=SETTINGS.test,
    shell:
        "mmprm measure --config {params.config:q} --benchmark {wildcards.benchmark} --variant {wildcards.variant}"
        " --problems {input.problems:q} --candidates {input.candidates:q} --scores {input.scores:q}"
        " --outcome {input.outcome:q} --out {output:q} > {log:q} 2>&1"


rule measure_trainings:
    """Measure Best-of-N over all trainings of a variant (prm.replicates)."""
    input:
        problems=INPUTS.benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
        scores=INPUTS.scores_of_trainings,
        outcome=INPUTS.outcome_scores_of_trainings,
    output:
        "<results>/bench/{benchmark}/{variant}/trainings.json",
    log:
        "<logs>/measure_trainings/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/measure_trainings/{benchmark}/{variant}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("bench.n", "bench.primary", "bench.confidence", "bench.resamples", "seed", version=1),
        config=RESOLVED,
        benchmark=SETTINGS.test,
    shell:
        "mmprm measure-trainings --config {params.config:q} --benchmark {wildcards.benchmark}"
        " --variant {wildcards.variant} --problems {input.problems:q} --candidates {input.candidates:q}"
        " --scores {input.scores:q} --outcome {input.outcome:q} --out {output:q} > {log:q} 2>&1"


rule summarise:
    """Put the metrics of all benchmarks and variants together."""
    input:
        metrics=INPUTS.all_measures,
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
        *SETTINGS.affects(version=1),
        config=RESOLVED,
    shell:
        "mmprm summarise --config {params.config:q} --metrics {input.metrics:q} --out {output:q} > {log:q} 2>&1"


rule score_steps:
    """Score the labelled steps of a step benchmark with a PRM."""
    input:
        prm="<results>/prm/{variant}/manifest.json",
        tables=INPUTS.step_tables,
    output:
        "<results>/steps/{benchmark}/{variant}/scores.parquet",
    log:
        "<logs>/score_steps/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/score_steps/{benchmark}/{variant}.tsv"
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.scoring,
    params:
        *SETTINGS.affects("prompt", "engine.max_model_len", version=1),
        config=RESOLVED,
        split=SETTINGS.step_split,
    shell:
        "mmprm score-steps --config {params.config:q} --benchmark {wildcards.benchmark} --prm {input.prm:q}"
        " --problems {input.tables[0]:q} --paths {input.tables[1]:q} --devices {resources.gpu} --out {output:q}"
        " > {log:q} 2>&1"


rule measure_steps:
    """Measure a PRM's verdicts of labelled steps."""
    input:
        tables=INPUTS.step_tables,
        scores="<results>/steps/{benchmark}/{variant}/scores.parquet",
        development=INPUTS.development_tables,
    output:
        "<results>/steps/{benchmark}/{variant}/metrics.json",
    log:
        "<logs>/measure_steps/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/measure_steps/{benchmark}/{variant}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("bench.confidence", "bench.resamples", "seed", version=1),
        config=RESOLVED,
        benchmark=SETTINGS.entry("step_benchmarks", "benchmark"),
    shell:
        "mmprm measure-steps --config {params.config:q} --benchmark {wildcards.benchmark} --variant {wildcards.variant}"
        " --test {input.tables:q} {input.scores:q} --development {input.development:q} --out {output:q} > {log:q} 2>&1"


rule step_benchmarks:
    """Measure all variants on all step benchmarks."""
    input:
        expand(
            "<results>/steps/{benchmark}/{variant}/{file}",
            benchmark=CONFIG.step_benchmarks,
            variant=CONFIG.prm.step_models,
            file=["scores.parquet", "metrics.json"],
        ),


rule bench:
    """Measure all variants on all benchmarks and step benchmarks."""
    input:
        CHAINS.bench,
        made=["<results>/bench/summary.json", *rules.step_benchmarks.input],
