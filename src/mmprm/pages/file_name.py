"""Names of files for problems and runs. In: an id. Out: a name that every file system takes."""

import hashlib
import re


def file_name(problem_id: str) -> str:
    """Return a name of a file for a problem: its id, or where a file cannot be called so a part of it and a hash."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", problem_id)[:80].strip(".-")
    if plain == problem_id:
        return plain
    return f"{plain or 'problem'}-{hashlib.sha256(problem_id.encode(errors='surrogatepass')).hexdigest()[:8]}"
