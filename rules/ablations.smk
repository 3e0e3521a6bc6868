"""Ablations. In: the scores and metrics of PRM variants. Out: a page and a CSV of each configured comparison.

Policy, seeds, annotation and candidates are those of the run: a variant costs its training and its scores.
"""


rule write_ablation:
    """Compare the PRM variants of an ablation on the same candidates."""
    input:
        unpack(INPUTS.ablation_tables),
    output:
        page=report("<results>/ablations/{ablation}.html", "captions/ablation.rst", "Ablations"),
        table=report("<results>/ablations/{ablation}.csv", "captions/ablation.rst", "Ablations"),
    log:
        "<logs>/write_ablation/{ablation}.log",
    benchmark:
        "<benchmarks>/write_ablation/{ablation}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("bench.n", "bench.primary", "bench.confidence", "bench.resamples", "seed", version=3),
        config=RESOLVED,
        settings=SETTINGS.ablation,
    shell:
        "mmprm write-ablation --config {params.config:q} --ablation {wildcards.ablation} --problems {input.problems:q}"
        " --candidates {input.candidates:q} --scores {input.scores:q} --metrics {input.metrics:q}"
        " --manifests {input.manifests:q}"
        " --out {output.page:q} --table {output.table:q} > {log:q} 2>&1"


rule ablations:
    """Make the pages of all configured ablations."""
    input:
        INPUTS.ablation_pages,
        CHAINS.ablations,
