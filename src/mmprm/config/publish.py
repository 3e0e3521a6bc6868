"""What cards and uploads say of a run that its data cannot know. In: YAML values. Out: sections."""

from pydantic import Field

from mmprm.config.section import Section


class Publish(Section):
    """What a run's models say on the Hugging Face hub. Nothing here is a param of a rule."""

    base_model: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$",
        description="owner/name of policy.base on the hub; null: as the folder of the hub's cache is called",
    )
    base_licence: str | None = Field(
        None, min_length=1, description="of policy.base; null: what the front matter of its README.md says"
    )
