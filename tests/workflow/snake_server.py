"""Snakemake's command line without its start: modules are loaded once, and each run is a fork of this process.

In: a JSON object a line (arguments, folder, environment, and the files that take stdout and stderr). Out: the exit
status of each run, a line. Loading Snakemake takes more than half of the time of a dry run.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import snakemake.cli
import snakemake.workflow  # noqa: F401  (what `snakemake.cli` imports when it is called)

import mmprm.config  # noqa: F401  (the Snakefile imports it)


def execute(run: dict[str, Any]) -> None:
    """Run Snakemake in this process, as `python -m snakemake` does; exits with its status."""
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(run[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    os.chdir(run["folder"])
    os.environ.clear()
    os.environ.update(run["environment"])
    sys.argv = [snakemake.cli.__file__, *run["arguments"]]
    snakemake.cli.main()


def main() -> None:
    """Answer until stdin ends."""
    snakemake.cli.get_argument_parser()  # loads all plugins
    for line in sys.stdin:
        child = os.fork()
        if not child:
            execute(json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)


if __name__ == "__main__":
    main()
