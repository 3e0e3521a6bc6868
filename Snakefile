"""MM-PRM as a workflow: problems > policy > seeds > annotation > labels > prm > bench > report.

A file given with --configfile is the whole configuration (else the default run would be part of it); without one that is
workflow_config.yaml. Targets: `all` (the report), a stage, mini_base, ablations, sealed, trees, candidates, audit, a file.
"""

from snakemake.utils import min_version
from mmprm.workflow.checkout import default_config

min_version("9.27")


if not workflow.overwrite_configfiles:

    configfile: default_config(workflow.basedir)


include: "rules/common.smk"
include: "rules/remote.smk"
include: "rules/problems.smk"
include: "rules/curation.smk"
include: "rules/tagging.smk"
include: "rules/policy.smk"
include: "rules/seeds.smk"
include: "rules/annotation.smk"
include: "rules/labels.smk"
include: "rules/prm.smk"
include: "rules/bench.smk"
include: "rules/sealed.smk"
include: "rules/experiments/consensus.smk"
include: "rules/experiments/guided.smk"
include: "rules/report.smk"
include: "rules/ablations.smk"
include: "rules/pages.smk"


onstart:
    start_run()


rule all:
    """Make the report of the run."""
    default_target: True
    input:
        rules.report.input,
