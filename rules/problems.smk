"""Problems. In: the configured sources. Out: a problem table a source, the rows that were refused, and the counts.

Steps: intake. Sources of the kinds curated, set_aside and tagged are made by rules/curation.smk and rules/tagging.smk, those of sealed tests by rules/sealed.smk.
"""


rule intake:
    """Read a source into a problem table; refused rows get a reason."""
    input:
        INPUTS.source_files,
    output:
        problems="<results>/problems/{source}.parquet",
        refused="<results>/problems/{source}.refused.parquet",
        counts="<results>/problems/{source}.intake.json",
    log:
        "<logs>/intake/{source}.log",
    benchmark:
        "<benchmarks>/intake/{source}.tsv"
    wildcard_constraints:
        source=INPUTS.not_of_kind("curated", "set_aside", "tagged", "sealed"),
    conda:
        "../envs/cpu.yaml"
    threads: DEVICES.checking_threads
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("intake", "seed", version=4),
        config=RESOLVED,
        work=INPUTS.work("intake/{source}"),
        source=SETTINGS.entry("sources", "source"),
    shell:
        "mmprm intake --config {params.config:q} --source {wildcards.source}"
        " --work {params.work:q} --threads {threads}"
        " --out {output.problems:q} --refused {output.refused:q} > {log:q} 2>&1"


rule problems:
    """Make the problem tables of all sources but those of sealed tests."""
    input:
        expand("<results>/problems/{source}.parquet", source=CONFIG.open_sources),
