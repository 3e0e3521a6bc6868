"""Sealed tests. In: the policy, the PRMs, a committed registration. Out: a line of the ledger, problems, and a page a test.

Steps: open_seal (enters the look) > draw_sealed > those of rules/bench.smk > write_sealed. No other target asks for any.
"""


rule open_seal:
    """Enter a look at a sealed test into the ledger, with the seed of its problems."""
    input:
        policy="<results>/policy/manifest.json",
        prms=expand("<results>/prm/{variant}/manifest.json", variant=CONFIG.prm.models),
    output:
        "<results>/sealed/{test}/look.json",
    log:
        "<logs>/open_seal/{test}.log",
    benchmark:
        "<benchmarks>/open_seal/{test}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *SETTINGS.affects(version=1),
        config=RESOLVED,
        look=SETTINGS.look,
    shell:
        "mmprm open-seal --config {params.config:q} --test {wildcards.test} --policy {input.policy:q}"
        " --prms {input.prms:q} --out {output:q} > {log:q} 2>&1"


rule draw_sealed:
    """Draw the problems of a sealed test by the seed of its look."""
    input:
        look=INPUTS.look,
        parents=INPUTS.sampled_tables,
    output:
        problems="<results>/problems/{source}.parquet",
        refused="<results>/problems/{source}.refused.parquet",
        counts="<results>/problems/{source}.intake.json",
    log:
        "<logs>/draw_sealed/{source}.log",
    benchmark:
        "<benchmarks>/draw_sealed/{source}.tsv"
    wildcard_constraints:
        source=INPUTS.of_kind("sealed"),
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects(version=1),
        config=RESOLVED,
    shell:
        "mmprm draw-sealed --config {params.config:q} --source {wildcards.source} --look {input.look:q}"
        " --parents {input.parents:q} --out {output.problems:q} --refused {output.refused:q} > {log:q} 2>&1"


rule write_sealed:
    """Write the page of a sealed test: claims, looks, results."""
    input:
        look="<results>/sealed/{test}/look.json",
        metrics=INPUTS.sealed_measures,
    output:
        page=report("<results>/sealed/{test}.html", "captions/sealed.rst", "Sealed tests"),
    log:
        "<logs>/write_sealed/{test}.log",
    benchmark:
        "<benchmarks>/write_sealed/{test}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=4000,
    params:
        *SETTINGS.affects("bench.primary", "bench.confidence", version=1),
        config=RESOLVED,
        results=subpath(output.page, ancestor=2),
    shell:
        "mmprm write-sealed --config {params.config:q} --test {wildcards.test} --results {params.results:q}"
        " --out {output.page:q} > {log:q} 2>&1"


rule sealed:
    """Look at all sealed tests, and enter each look into the ledger."""
    input:
        INPUTS.sealed_pages,
        CHAINS.sealed,
