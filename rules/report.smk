"""Report. In: every table of the run. Out: one self-contained page, and the data card.

Steps: write_report, write_data_card.
"""


rule write_report:
    """Write the report, one self-contained page."""
    input:
        rules.problems.input,
        rules.seeds.input.made,
        rules.labels.input.made,
        rules.prm.input.made,
        rules.bench.input.made,
        rules.summarise.input,
        INPUTS.guided_measures,
        rules.gather_labels.input,
    output:
        page=report("<results>/report.html", "captions/report.rst", "Report"),
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("report", "data_card", version=2),
        config=RESOLVED,
        results=subpath(output.page, parent=True),
    shell:
        "mmprm write-report --config {params.config:q} --results {params.results:q} --out {output.page:q}"
        " > {log:q} 2>&1"


rule write_data_card:
    """Write the data card, with its funnels and examples."""
    input:
        rules.problems.input,
        expand("<results>/problems/{source}.refused.parquet", source=CONFIG.open_sources),
        rules.seeds.input.made,
        rules.policy.input.made,
        rules.annotation.input.made,
        rules.gather_labels.output,
        INPUTS.judged,
    output:
        card=report("<results>/data_card.md", "captions/data_card.rst", "Data card"),
        funnels=report(multiext("<results>/data_card/", "seeds.svg", "policy.svg"), "captions/funnel.rst", "Data card"),
    log:
        "<logs>/write_data_card.log",
    benchmark:
        "<benchmarks>/write_data_card.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("data_card", version=1),
        config=RESOLVED,
        results=subpath(output.card, parent=True),
        pictures=subpath(output.card, strip_suffix=".md"),  # and example-1.png, ...: as many as there are examples
    shell:
        "mmprm write-data-card --config {params.config:q} --results {params.results:q} --out {output.card:q}"
        " --pictures {params.pictures:q} > {log:q} 2>&1"


# A missing table is made again only where a target names it: so `report`, and with it `all`, names every one of the run.
rule report:
    """Make the report, and every table of the run."""
    input:
        rules.write_report.output,
        rules.write_report.input,
        rules.write_data_card.output,
        CHAINS.bench,
        expand("<results>/problems/{source}.refused.parquet", source=CONFIG.open_sources),
        rules.step_data.input,
