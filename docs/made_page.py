"""Write a page that is made from something else, or with --check compare it."""

import sys
from pathlib import Path


def write_or_check(page: Path, text: str, source: str) -> int:
    """Write the page, or with --check print what to run where it is not what its source says; the exit status."""
    if "--check" not in sys.argv[1:]:
        page.write_text(text, encoding="utf-8")
    elif not page.is_file() or page.read_text(encoding="utf-8") != text:
        print(f"{page}: not what {source}; run `python docs/{Path(sys.argv[0]).name}`", file=sys.stderr)
        return 1
    return 0
