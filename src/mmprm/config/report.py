"""The report and the data card. In: YAML values. Out: sections."""

from pydantic import Field

from mmprm.config.section import Section


class Report(Section):
    """report.html."""

    title: str = Field("MM-PRM", description="of the page")
    trees: int = Field(4, ge=0, description="annotated trees to show")


class DataCard(Section):
    """data_card.md, and its part of the report."""

    language: list[str] = Field(["en"], description="of the problems, as codes such as en or zh")
    examples: int = Field(3, ge=0, description="kept problems to show, and as many refused ones of each stage")
