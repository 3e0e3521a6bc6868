"""Pages to look at beside the report, each made when it is asked for. In: tables of the run. Out: HTML.

Steps: score_trees > write_trees; write_candidates. They open without a server; `mmprm tree` makes the page of one problem.
"""


rule score_trees:
    """Give every state of the trees the value that a PRM sees in it."""
    input:
        prm="<results>/prm/{variant}/manifest.json",
        seeds="<results>/seeds/seeds.parquet",
        trees=expand(
            "<results>/annotation/{shard}/nodes.parquet",
            shard=INPUTS.shards("annotation"),
        ),
    output:
        "<results>/trees/values/{variant}.parquet",
    log:
        "<logs>/score_trees/{variant}.log",
    benchmark:
        "<benchmarks>/score_trees/{variant}.tsv"
    conda:
        "../envs/rollout.yaml"
    threads: DEVICES.engine_threads
    resources:
        mem_mb=16000,
        gpu=DEVICES.model,
    params:
        *SETTINGS.affects("prompt", "engine.max_model_len", version=1),
        config=RESOLVED,
        shards=INPUTS.every("annotation", "annotation/{shard}"),
    shell:
        "mmprm score-trees --config {params.config:q} --prm {input.prm:q} --seeds {input.seeds:q}"
        " --shards {params.shards:q} --devices {resources.gpu} --out {output:q} > {log:q} 2>&1"


rule write_trees:
    """Write the page of all annotated trees."""
    input:
        "<results>/seeds/seeds.parquet",
        expand(
            "<results>/annotation/{shard}/status.parquet",
            shard=INPUTS.shards("annotation"),
        ),
        values=INPUTS.tree_values,
    output:
        page="<results>/trees/trees.html",
        parts=directory("<results>/trees/parts"),
    log:
        "<logs>/write_trees.log",
    benchmark:
        "<benchmarks>/write_trees.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("labels.dev_share", "seed", version=1),
        config=RESOLVED,
        results=subpath(output.page, ancestor=2),
    shell:
        "mmprm write-trees --config {params.config:q} --results {params.results:q} --values {input.values:q}"
        " --parts {output.parts:q} --out {output.page:q} > {log:q} 2>&1"


rule trees:
    """Make the page of all annotated trees, with the PRM's values beside the MC values."""
    input:
        CHAINS.trees,
        made=rules.write_trees.output,


rule write_candidates:
    """Write the page of a benchmark's candidates, as a PRM sees them."""
    input:
        problems=INPUTS.benchmark_problems,
        candidates="<results>/bench/{benchmark}/candidates.parquet",
        scores="<results>/bench/{benchmark}/{variant}/scores.parquet",
    output:
        page="<results>/candidates/{benchmark}/{variant}/candidates.html",
        parts=directory("<results>/candidates/{benchmark}/{variant}/parts"),
    log:
        "<logs>/write_candidates/{benchmark}/{variant}.log",
    benchmark:
        "<benchmarks>/write_candidates/{benchmark}/{variant}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("bench.primary", version=1),
        config=RESOLVED,
    shell:
        "mmprm write-candidates --config {params.config:q} --benchmark {wildcards.benchmark}"
        " --variant {wildcards.variant} --problems {input.problems:q} --candidates {input.candidates:q}"
        " --scores {input.scores:q} --parts {output.parts:q} --out {output.page:q} > {log:q} 2>&1"


rule candidates:
    """Make the pages of all benchmarks' candidates, one a PRM variant."""
    input:
        CHAINS.bench,
        made=expand(
            "<results>/candidates/{benchmark}/{variant}/candidates.html",
            benchmark=CONFIG.benchmarks,
            variant=CONFIG.prm.variants,
        ),


rule write_audit:
    """Write the page on which people judge a sample of the run."""
    input:
        seeds="<results>/seeds/seeds.parquet",
        paths="<results>/labels/paths.parquet",
        candidates=expand(
            "<results>/bench/{benchmark}/candidates.parquet",
            benchmark=CONFIG.benchmarks,
        ),
    output:
        page="<results>/audit/audit.html",
    log:
        "<logs>/write_audit.log",
    benchmark:
        "<benchmarks>/write_audit.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=8000,
    params:
        *SETTINGS.affects("audit", "seed", version=1),
        config=RESOLVED,
        results=subpath(output.page, ancestor=2),
    shell:
        "mmprm write-audit --config {params.config:q} --results {params.results:q} --out {output:q} > {log:q} 2>&1"


rule audit:
    """Make the page on which people judge a sample of the run; `mmprm audit` reads their marks."""
    input:
        CHAINS.audit,
        made=rules.write_audit.output,
