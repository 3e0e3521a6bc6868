"""What all rules share. In: `config`. Out: CONFIG (validated), SETTINGS, INPUTS, CHAINS, DEVICES, and the run's path variables.

Their Python is in src/mmprm/workflow/. `SETTINGS.affects(…)` gives the params of a rule: the settings that change its
result, and a `version`, raised by hand when the stage's algorithm changes. Jobs read results/<run>/config.json, which is
written before the first job and is no rule's output: Snakemake 9.27 does not look at the other reasons of jobs behind an
ancient() input that is made again, and a changed learning rate would retrain nothing.
"""

import re
import shlex
import sys
from collections import Counter
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from mmprm.config import load
from mmprm.runtime import slurm_orphans
from mmprm.runtime.errors import UserError
from mmprm.workflow.chains import Chains
from mmprm.workflow.check_start import check_start
from mmprm.workflow.checkout import lend_model, settle_environment
from mmprm.workflow.devices import HEAVY_THREADS, Devices
from mmprm.workflow.inputs import Inputs
from mmprm.workflow.run_lock import hold_folder, write_resolved_config
from mmprm.workflow.settings import SAMPLED, Settings
from mmprm.workflow.terminal import endings, status_lines

try:
    CONFIG = load(config)
except UserError as error:
    raise WorkflowError(str(error)) from None

SETTINGS, INPUTS, DEVICES = Settings(CONFIG), Inputs(CONFIG, storage), Devices(CONFIG)
CHAINS = Chains(CONFIG, INPUTS)
RESOLVED = f"{INPUTS.results}/config.json"

# The executor is not known yet (workflow.local_exec is true on a cluster, too); cores are given for a local run alone.
LOCAL = workflow.resource_settings.cores is not None or workflow.resource_settings.nodes is None

# An engine that died is started again and continues from the journal; on a cluster the profile says how often.
RETRIES = 1 if LOCAL and workflow.is_main_process else None

if workflow.is_main_process:
    try:
        FOLDER_LOCK, ALONE = hold_folder(on_cluster=workflow.resource_settings.nodes is not None)
        lend_model(CONFIG.policy.base, Path(workflow.basedir))
    except UserError as error:
        raise WorkflowError(str(error)) from None

# GPU jobs of one machine run one after another unless --resources gpu=N says otherwise.
if LOCAL and workflow.is_main_process and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", DEVICES.at_once(workflow.resource_settings.cores or 1))


pathvars:
    results=INPUTS.results,
    logs=f"{INPUTS.results}/logs",
    benchmarks=f"{INPUTS.results}/benchmarks",


wildcard_constraints:
    source=r"[A-Za-z0-9_-]+",
    variant=r"[A-Za-z0-9_-]+(?:@[1-9][0-9]*)?",  # soft@1 is the second training of soft (prm.replicates)
    benchmark=r"[A-Za-z0-9_-]+",
    strategy=r"[A-Za-z0-9_-]+",
    ablation=r"[A-Za-z0-9_-]+",
    test=r"[A-Za-z0-9_-]+",
    shard=r"\d+-of-\d+",
    steps=r"[A-Za-z0-9_-]+",
    label_set=r"[A-Za-z0-9_-]+",
    file="|".join(map(re.escape, map(str, CONFIG.remote))) or "(?!)",


settle_environment()
STATUS = None  # of a run that is not to be quiet

# With `--sdm apptainer`, jobs run in the image of containers/mmprm.def, with the code of this folder.
if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:

    container: str(Path(workflow.basedir) / "containers/mmprm.sif")

    shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}; ")


# Jobs find `mmprm` beside this Python without an activated environment; with --sdm conda, conda sets the PATH.
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'set -euo pipefail; export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"; ')


def start_run() -> None:
    """Before the first job: cancel the SLURM jobs of a run that was killed here, write the configuration, check it."""
    global RESULTS_LOCK, STATUS
    try:
        cancelled = slurm_orphans.cancel(Path.cwd()) if ALONE and workflow.executor_plugin.name == "slurm" else []
        RESULTS_LOCK = write_resolved_config(CONFIG)
        warnings = check_start(CONFIG, workflow)
    except UserError as error:
        raise WorkflowError(str(error)) from None
    for warning in warnings:
        print(f"mmprm: {warning}", file=sys.stderr)
    if cancelled:
        print(f"mmprm: cancelled {len(cancelled)} SLURM jobs of a run that was killed", file=sys.stderr)
    if workflow.executor_plugin.name != "touch":
        totals = Counter(job.rule.name for job in workflow.dag.needrun_jobs())
        STATUS = status_lines.show_status(totals, workflow.output_settings)


def end_run(success: bool) -> None:
    """After the last job: say what the run came to, or what failed, and what to do next."""
    if STATUS is not None:
        STATUS.close()
        if success:
            made = {job.rule.name for job in workflow.dag.jobs}
            endings.say(endings.success(CONFIG, made, STATUS.board, workflow.dag_settings.targets), "bold green")
        else:
            endings.say(endings.failure(STATUS.board), "bold red")


onsuccess:
    end_run(success=True)


onerror:
    end_run(success=False)
