"""What a check has found. In: nothing. Out: Finding, and the text of several."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that is missing, does not fit, or cannot be known. `fatal`: the named stages cannot end well."""

    stages: frozenset[str]
    key: str  # of the configuration, or of a rule's resources
    text: str  # what is wrong, and what to do
    fatal: bool = True

    @property
    def line(self) -> str:
        """The finding as a line of a list."""
        return f"  {self.key}: {self.text}"


def found(key: str, text: str, *stages: str, fatal: bool = True) -> Finding:
    """Make a finding about stages."""
    return Finding(frozenset(stages), key, text, fatal)


def as_list(findings: Iterable[Finding], head: str) -> str:
    """Write findings as one list below a head; each once."""
    return "\n".join([head, *dict.fromkeys(finding.line for finding in findings)])
