"""Files in an object store. In: what `remote` names. Out: the local files that sources and step data read.

Steps: fetch.
"""


rule fetch:
    """Copy a file from an object store."""
    input:
        INPUTS.remote_file,
    output:
        "{file}",
    log:
        "<logs>/fetch/{file}.log",
    benchmark:
        "<benchmarks>/fetch/{file}.tsv"
    conda:
        "../envs/cpu.yaml"
    resources:
        mem_mb=2000,
    params:
        *SETTINGS.affects(version=1),
        address=SETTINGS.remote_address,
    shell:
        "mmprm fetch --file {input:q} --out {output:q} > {log:q} 2>&1"
