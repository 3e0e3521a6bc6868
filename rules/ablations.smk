"""Ablations. In: the metrics of PRM variants. Out: a page and a CSV for each comparison that the configuration names.

Policy, seeds, annotation, labels and candidates are those of the run: a variant costs its training and its scores.
"""


rule write_ablation:
    input:
        ablation_metrics,
    output:
        page="<results>/ablations/{ablation}.html",
        table="<results>/ablations/{ablation}.csv",
    log:
        "<logs>/write_ablation/{ablation}.log",
    benchmark:
        "<benchmarks>/write_ablation/{ablation}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *affects("bench.primary", version=1),
        config=RESOLVED,
        settings=ablation_settings,
    shell:
        "mmprm write-ablation --config {params.config} --ablation {wildcards.ablation} --metrics {input}"
        " --out {output.page} --table {output.table} > {log} 2>&1"


rule ablations:
    input:
        ablation_pages,
