"""What is claimed of sealed tests before they are looked at. In: a committed YAML. Out: `Registered`, and its commit.

tests:
  sealed:                        # a key of the configuration's `sealed`
    variant: soft                # the PRM that counts
    trainings: 5                 # prm.replicates
    primary: mean_odds           # bench.primary
    n: 16                        # bench.n
    problems: 640                # at least
    error_share: 0.4             # of the policy's solutions by a wrong route (sources.….wrong_routes); of what was
    bars:                        # trained so, one share counts, and is named beforehand
      - {metric: bon_minus_majority/mean_odds, above: 0.0}              # with its whole interval
      - {metric: bon_minus_random/mean_odds, above: 0.2, end: value}
"""

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from mmprm.config import Config
from mmprm.config.section import Aggregate, Name, Section, Share
from mmprm.runtime.errors import UserError


class Bar(Section):
    """A claim: a metric with all N candidates lies above a value."""

    metric: str = Field(min_length=1, description="a metric of summary.json, e.g. bon_minus_majority/mean_odds")
    above: float = Field(description="in [-1, 1]")
    end: Literal["interval", "value"] = Field(
        "interval", description="what lies above: the whole interval, or the mean"
    )

    def met(self, row: Mapping[str, Any] | None) -> bool | None:
        """Tell whether a row of the metric is above the bar; None where it was not measured or has no interval."""
        value = None if row is None else row.get("ci_low" if self.end == "interval" else "value")
        return None if value is None else bool(value > self.above)


class Registered(Section):
    """What is claimed of one sealed test, and by which settings."""

    variant: Name = Field(description="the PRM that counts, a key of prm.variants")
    trainings: int = Field(1, ge=1, description="prm.replicates")
    primary: Aggregate = Field(description="bench.primary")
    n: int = Field(ge=1, description="bench.n")
    problems: int = Field(ge=1, description="at least so many")
    error_share: Share | None = Field(None, description="of the policy's solutions by a wrong route")
    bars: list[Bar] = Field(min_length=1, description="the claims")


class Registration(Section):
    """The whole file."""

    tests: dict[Name, Registered] = Field(min_length=1, description="by names of sealed tests")


def registered(config: Config, test: str) -> tuple[Registered, str, str] | None:
    """Return what is claimed of the test, the file's SHA-256 and its last commit; None where that may be missing.

    UserError where the file or its entry is missing or not committed (unless evidence.unregistered), is not valid, or
    is not what the configuration does.
    """
    path, key = Path(config.evidence.registration), f"sealed.{test}"
    text = path.read_bytes() if path.is_file() else None
    entry = None if text is None else read(path, text).tests.get(test)
    missing = None
    if entry is None or text is None:
        missing = f"{path} says nothing of it"
    else:
        for what, (claimed, done) in _compared(config, test, entry).items():
            if claimed != done:
                raise UserError(
                    f"{key}: {path} says {what} {claimed!r}, the configuration {done!r}; a claim is of the settings "
                    "that it was made for"
                )
        commit = committed(path)
        if commit is not None:
            return entry, hashlib.sha256(text).hexdigest(), commit
        missing = f"{path} is not committed as it is"
    if config.evidence.unregistered:
        return None
    raise UserError(
        f"{key}: {missing}. What a sealed test is to show must be fixed before its problems are drawn: write the bars, "
        "commit the file, and run again; evidence.unregistered: true looks without them, and the page says so"
    )


def read(path: Path, text: bytes) -> Registration:
    """Parse a registration; UserError where it is not one."""
    try:
        return Registration.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({error})") from error
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise UserError("\n".join([f"{path}: not a registration:", *lines])) from error


def _compared(config: Config, test: str, entry: Registered) -> dict[str, tuple[Any, Any]]:
    """Map what the registration says to that and what the configuration does."""
    variants: Sequence[str] = list(config.prm.variants)
    size = getattr(config.sources[config.sealed[test].source], "size", 0)
    shares = {float(getattr(config.sources[name], "wrong_routes", 0)) for name in config.policy.sources}
    compared: dict[str, tuple[Any, Any]] = {
        "primary": (entry.primary, config.bench.primary),
        "n": (entry.n, config.bench.n),
        "trainings": (entry.trainings, config.prm.replicates),
        "problems": (entry.problems, entry.problems if size >= entry.problems else size),
        "variant": (entry.variant, entry.variant if entry.variant in variants else variants),
    }
    if entry.error_share is not None:
        compared["error_share"] = (entry.error_share, max(shares))
    return compared


def committed(path: Path) -> str | None:
    """Return the commit, and its date, that last changed a file; None where the file is not as that commit has it."""
    if _git("status", "--porcelain", "--ignored", "--", str(path)) != "":
        return None  # changed, not tracked, ignored, or there is no git
    return _git("log", "-1", "--format=%H of %cI", "--", str(path)) or None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], text=True, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
