"""The command line: one verb a rule, files in, files out. Each verb reads the resolved configuration and calls a stage.

Stages are imported inside their verbs: `mmprm --help` loads neither torch nor vLLM.
"""

from mmprm.cli import training, curating, measuring, offline  # noqa: F401, I001 (they add their verbs, in the order of --help)
from mmprm.cli.program import app

__all__ = ["app"]
