"""The command line: one verb a rule, files in, files out. Each verb reads the resolved configuration and calls a stage.

Stages are imported inside their verbs: `mmprm --help` loads neither torch nor vLLM.
"""

from mmprm.cli import annotation, evaluation, experiments, labels, offline, problems, report, training
from mmprm.cli.program import Verb, app

# In the order of `mmprm --help`.
for verb in (
    *(problems.config, problems.fetch, problems.intake, problems.tag, training.train_policy),
    *(annotation.sample_seeds, annotation.select_seeds, annotation.plan, annotation.annotate),
    *(labels.read_steps, labels.gather_labels, experiments.judge_labels, labels.measure_labels),
    *(training.train_prm, training.evaluate_prm, training.mini_base, problems.curate, problems.set_aside),
    *(evaluation.sample_candidates, evaluation.gather_candidates, evaluation.score_candidates),
    *(experiments.decode_guided, experiments.measure_guided, evaluation.measure, evaluation.summarise),
    *(evaluation.score_steps, evaluation.measure_steps),
    *(report.write_report, report.write_data_card, report.write_ablation),
    *(offline.score, offline.evaluate, offline.grade),
):
    app.command(cls=Verb)(verb)

__all__ = ["app"]
