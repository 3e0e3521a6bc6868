"""What experiments add to report and data card. The caller passes them in; nothing here knows which there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from mmprm.config import Config


@dataclass(frozen=True)
class CardPart:
    """A section of the data card, and the names of the tables in labels/ that it adds to the data set."""

    markdown: str
    tables: Sequence[str] = ()


class ReportExtra:
    """One experiment's parts of the pages of the run in `folder`; None where the run has nothing of it."""

    def below_benchmark(self, folder: Path, benchmark: str, variant: str) -> Markup | None:
        """Return HTML to stand below the results of a benchmark and variant."""
        return None

    def in_labels(self, config: Config, folder: Path) -> Markup | None:
        """Return HTML for the section on labels."""
        return None

    def in_card(self, config: Config, folder: Path) -> CardPart | None:
        """Return a section of the data card, to stand behind the one on labels."""
        return None
