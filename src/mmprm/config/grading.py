"""How answers are graded. In: YAML values. Out: sections."""

from pydantic import Field

from mmprm.config.section import Address, Section

JUDGE_PROMPT = "1"  # the version of what grading.judge is asked, and of how its replies are read


class JudgeSettings(Section):
    """A model that is asked whether an answer is right; its key is in MMPRM_JUDGE_API_KEY, never here."""

    url: Address = Field(description="of an OpenAI-compatible server, such as http://host:8000/v1")
    model: str = Field(min_length=1, description="its name there; another model grades anew")
    timeout: float = Field(60, gt=0, description="seconds without a reply after which a try has failed")
    max_concurrent: int = Field(8, ge=1, description="questions in flight")
    tries: int = Field(5, ge=1, description="after the last one the answer is undecided, until the next run")

    @property
    def identity(self) -> str:
        """What its verdicts depend on."""
        return f"{self.model}, prompt {JUDGE_PROMPT}"


class GradingSettings(Section):
    """How answers are compared. Only the judge can change a result: undecided answers are tried again."""

    workers: int = Field(2, ge=1, description="processes that compare formulas")
    timeout: float = Field(5.0, gt=0, description="seconds for a comparison, which is tried twice")
    judge: JudgeSettings | None = Field(None, description="grades what rules and math-verify cannot read; null: none")
