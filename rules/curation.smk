"""Curation. In: problem tables. Out: the problems that are fit to be seeds, a held-out test, and the reasons of the rest.

Steps: curate; set_aside makes a source of the held-out test problems.
"""


rule curate:
    """Keep the problems of a pool that are fit to be seeds."""
    input:
        problems=INPUTS.parent_tables,
        tested=INPUTS.tested_against,
    output:
        multiext("<results>/problems/{source}", out=".parquet", refused=".refused.parquet", funnel=".curation.json"),
        test="<results>/curation/{source}.test.parquet",
    log:
        "<logs>/curate/{source}.log",
    benchmark:
        "<benchmarks>/curate/{source}.tsv"
    wildcard_constraints:
        source=INPUTS.of_kind("curated"),
    conda:
        "../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("seed", version=1),
        config=RESOLVED,
        source=SETTINGS.entry("sources", "source"),
        work=INPUTS.work("curation/{source}"),
    shell:
        "mmprm curate --config {params.config:q} --source {wildcards.source} --problems {input.problems:q}"
        " --tested {input.tested:q} --work {params.work:q} --workers {threads} --out {output.out:q}"
        " --refused {output.refused:q} --funnel {output.funnel:q} --test {output.test:q} > {log:q} 2>&1"


rule set_aside:
    """Make a source of the test problems that a curated source holds out."""
    input:
        test=INPUTS.heldout_test,
    output:
        problems="<results>/problems/{source}.parquet",
        refused="<results>/problems/{source}.refused.parquet",
    log:
        "<logs>/set_aside/{source}.log",
    benchmark:
        "<benchmarks>/set_aside/{source}.tsv"
    wildcard_constraints:
        source=INPUTS.of_kind("set_aside"),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *SETTINGS.affects(version=1),
    shell:
        "mmprm set-aside --test {input.test:q} --out {output.problems:q} --refused {output.refused:q} > {log:q} 2>&1"
