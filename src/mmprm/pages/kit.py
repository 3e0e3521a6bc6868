"""Pages to look at: one HTML file each, with its data in it or in script files beside it. In: plain values. Out: files.

They open from file://, without a server and without a network. Their policy (Content-Security-Policy) lets one script
run, by its hash, and where there are files of data those that it loads itself; nothing can turn a text into HTML
(Trusted Types), and no style and no script stands in an attribute. Data is JSON that a page sets as text.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mmprm import __version__
from mmprm.data import tables
from mmprm.report.templates import printable, render_template

Row = dict[str, Any]

_PART_BYTES = 1_000_000  # after which a part takes no further item: what a page loads at a time
_PART_ITEMS = 64
_BREAKS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "<": "\\u003c"}  # end a line of a script, or the script


@dataclass(frozen=True)
class Look:
    """What a page shows its data with. scripts: files of this folder, after kit.js; about: facts below the title."""

    title: str
    scripts: Sequence[str]
    about: Sequence[str] = ()


@dataclass
class Parts:
    """Items of a page in parts that it loads when they are looked at; folder: of the script files, None: in the page.

    An item is found by the number of its part and its place therein, which `add` returns.
    """

    folder: Path | None = None
    inlined: list[str] = field(default_factory=list)
    _waiting: list[str] = field(default_factory=list)
    _bytes: int = 0
    _count: int = 0

    def add(self, item: Row) -> tuple[int, int]:
        """Add an item; returns its part and its place."""
        text = as_json(item)
        if self._waiting and (self._bytes + len(text) > _PART_BYTES or len(self._waiting) == _PART_ITEMS):
            self.flush()
        self._waiting.append(text)
        self._bytes += len(text)
        return self._count, len(self._waiting) - 1

    def flush(self) -> None:
        """Write the part that is not full."""
        if not self._waiting:
            return
        text = f"[{','.join(self._waiting)}]"
        if self.folder is None:
            self.inlined.append(text)
        else:
            tables.write_text(self.folder / f"{self._count:05}.js", f"mmprmPart({self._count}, {text});\n")
        self._count, self._waiting, self._bytes = self._count + 1, [], 0


@contextmanager
def parts_in(folder: Path | None) -> Iterator[Parts]:
    """Give the parts of a page; those of an earlier one in the folder are removed. None: they stand in the page."""
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    parts = Parts(folder)
    yield parts
    parts.flush()


def write_page(out: Path, look: Look, data: Row, parts: Parts) -> None:
    """Write a page whose parts are complete; `data` is what its script knows from the start, beside `folder`.

    The folder of the parts has to stand beside the page.
    """
    style, script = _asset("kit.css"), _script(look.scripts)
    folder = parts.folder.name if parts.folder else None
    text = render_template(
        "page.html.jinja",
        "mmprm.pages",
        title=look.title,
        about=list(look.about),
        version=__version__,
        policy=policy(style, script, loads=folder is not None),
        style=Markup(style),
        script=Markup(script),
        data=Markup(as_json(data | {"folder": folder})),
        parts=[Markup(text) for text in parts.inlined],
    )
    tables.write_text(out, text)


def policy(style: str, script: str, loads: bool) -> str:
    """Return the Content-Security-Policy of a page with this style and this script; loads: files of data, too."""
    return "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src '{_digest(style)}'",
            # strict-dynamic: what the script itself adds, which Trusted Types narrow to the files of data.
            f"script-src '{_digest(script)}'" + (" 'strict-dynamic'" if loads else ""),
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            f"trusted-types {'mmprm' if loads else chr(39) + 'none' + chr(39)}",
        ]
    )


def as_json(value: Any) -> str:
    """Return JSON that may stand in a script element, of texts that a page can hold; ValueError for a NaN."""
    text = json.dumps(_printable(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _BREAKS.items():
        text = text.replace(character, escape)
    return text


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, Iterable) else value


def _script(names: Sequence[str]) -> str:
    """Return the kit and a page's own scripts as one, in a scope of their own."""
    return "(() => {\n'use strict';\n" + "\n".join(_asset(name) for name in ("kit.js", *names)) + "})();\n"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
