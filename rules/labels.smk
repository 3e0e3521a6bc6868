"""Labels. In: the seeds and the trees of all shards. Out: one table of step paths with counts, and its statistics.

Where labels.consensus names a model, `judge_labels` leaves the training paths on whose first error it agrees. Each of
labels.sets is a table of its own, of the same trees.

Of drawn problems the truth of every step is known: there the labels are compared with it. `read_steps` makes paths of
labelled steps from elsewhere; those of labels.extra go into the table too.
"""


rule read_steps:
    input:
        data=step_files,
        benchmarks=tested_problems,
    output:
        paths="<results>/step_data/{steps}/paths.parquet",
        problems="<results>/step_data/{steps}/problems.parquet",
        refused="<results>/step_data/{steps}/refused.parquet",
    log:
        "<logs>/read_steps/{steps}.log",
    benchmark:
        "<benchmarks>/read_steps/{steps}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *affects("intake", version=1),
        config=RESOLVED,
        data=step_settings,
    shell:
        "mmprm read-steps --config {params.config} --name {wildcards.steps}"
        " --benchmarks {input.benchmarks} --out {output.paths} > {log} 2>&1"


rule step_data:
    input:
        expand("<results>/step_data/{steps}/paths.parquet", steps=CONFIG.step_data),
        expand("<results>/step_data/{steps}/problems.parquet", steps=CONFIG.step_data),
        expand("<results>/step_data/{steps}/refused.parquet", steps=CONFIG.step_data),


rule gather_labels:
    input:
        seeds="<results>/seeds/seeds.parquet",
        nodes=expand("<results>/annotation/{shard}/nodes.parquet", shard=shards("annotation")),
        rollouts=expand("<results>/annotation/{shard}/rollouts.parquet", shard=shards("annotation")),
        status=expand("<results>/annotation/{shard}/status.parquet", shard=shards("annotation")),
        extra=extra_steps("paths.parquet"),
    output:
        paths="<results>/labels/paths.parquet",
        statistics="<results>/labels/statistics.json",
    log:
        "<logs>/gather_labels.log",
    benchmark:
        "<benchmarks>/gather_labels.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *affects("labels", "seed", version=3),
        config=RESOLVED,
        trees=TREES,
        of="",
    shell:
        "mmprm gather-labels --config {params.config} {params.of} --seeds {input.seeds} --shards {params.trees}"
        " --extra {input.extra} --out {output.paths} --statistics {output.statistics} > {log} 2>&1"


use rule gather_labels as gather_label_set with:
    output:
        paths="<results>/labels/{label_set}/paths.parquet",
        statistics="<results>/labels/{label_set}/statistics.json",
    log:
        "<logs>/gather_label_set/{label_set}.log",
    benchmark:
        "<benchmarks>/gather_label_set/{label_set}.tsv"
    params:
        *affects("labels", "seed", version=3),
        config=RESOLVED,
        trees=TREES,
        of="--set {label_set}",
        settings=label_set_settings,


rule judge_labels:
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
        "../envs/rollout.yaml"
    threads: HEAVY_THREADS if JUDGE_GPU else 1
    resources:
        mem_mb=8000,
        gpu=JUDGE_GPU,
    params:
        *affects("seed", version=1),
        config=RESOLVED,
        judge=judge_settings,
        work=work("consensus"),
    shell:
        "mmprm judge-labels --config {params.config} --seeds {input.seeds} --paths {input.paths} --work {params.work}"
        " --devices {resources.gpu} --out {output.paths} --dropped {output.dropped} --counts {output.counts} > {log} 2>&1"


rule measure_labels:
    input:
        seeds="<results>/seeds/seeds.parquet",
        paths="<results>/labels/paths.parquet",
        nodes=expand("<results>/annotation/{shard}/nodes.parquet", shard=shards("annotation")),
        rollouts=expand("<results>/annotation/{shard}/rollouts.parquet", shard=shards("annotation")),
        agreed=JUDGED[:1],
    output:
        "<results>/labels/quality.json",
    log:
        "<logs>/measure_labels.log",
    benchmark:
        "<benchmarks>/measure_labels.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *affects("bench.confidence", "bench.resamples", "seed", version=1),
        config=RESOLVED,
        trees=TREES,
    shell:
        "mmprm measure-labels --config {params.config} --seeds {input.seeds} --paths {input.paths}"
        " --shards {params.trees} --agreed {input.agreed} --out {output} > {log} 2>&1"


rule labels:
    input:
        "<results>/labels/paths.parquet",
        "<results>/labels/statistics.json",
        JUDGED,
        expand("<results>/labels/{label_set}/paths.parquet", label_set=CONFIG.labels.sets),
        ["<results>/labels/quality.json"] if drawn_seeds() else [],
