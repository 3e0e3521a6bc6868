"""The command line: one verb a rule, files in, files out. Each verb reads the resolved configuration and calls a stage.

Stages are imported inside their verbs: `mmprm --help` loads neither torch nor vLLM.
"""

from mmprm.cli import annotation, evaluation, hub, pages, problems, report
from mmprm.cli.program import Verb, app

# In the order of `mmprm --help`.
for verb in (
    *(problems.config, problems.check, problems.fetch, problems.intake, problems.tag, evaluation.train_policy),
    *(annotation.sample_seeds, annotation.select_seeds, annotation.plan, annotation.annotate),
    *(annotation.read_steps, annotation.gather_labels, annotation.judge_labels, annotation.measure_labels),
    *(
        evaluation.train_prm,
        evaluation.take_prm,
        evaluation.evaluate_prm,
        evaluation.mini_base,
        problems.curate,
        problems.set_aside,
    ),
    *(evaluation.sample_candidates, evaluation.gather_candidates, evaluation.score_candidates),
    *(evaluation.decode_guided, evaluation.measure_guided, evaluation.measure, evaluation.measure_trainings),
    *(evaluation.summarise, evaluation.score_steps, evaluation.measure_steps),
    *(report.write_report, report.write_data_card, report.write_ablation),
    *(pages.score_trees, pages.write_trees, pages.tree, pages.write_candidates),
    *(pages.write_audit, pages.audit, pages.compare, pages.watch),
    *(problems.open_seal, problems.draw_sealed, report.write_sealed),
    *(evaluation.score, evaluation.evaluate, evaluation.grade, problems.look, report.clean),
    *(hub.export, hub.push, hub.serve),
):
    app.command(cls=Verb)(verb)
app.command("try", cls=Verb)(problems.try_data)  # a keyword of Python

__all__ = ["app"]
