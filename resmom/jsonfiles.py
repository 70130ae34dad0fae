"""JSON on disk: files and lines that a crash leaves whole, damage told by file."""

import json
import os
import sys
from pathlib import Path
from typing import Any

from resmom.errors import RunDirError
from resmom.ondisk import encoded, naming, write_whole


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def append_line(path: Path, line: dict[str, Any]) -> None:
    """Add one JSON line; a line that a crash cut short before it is taken out."""
    with naming(path), path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.truncate(path.read_bytes().rfind(b"\n") + 1)
        file.write(encoded(json.dumps(line, ensure_ascii=False) + "\n"))


def append_or_say(path: Path, line: dict[str, Any]) -> bool:
    """Add one JSON line; where the system refuses, say it on standard error, the line too, and answer False.

    For what was measured for hours, and is worth more than the file it is kept in.
    """
    try:
        append_line(path, line)
    except OSError as error:
        say_refused(path, error, f"this line is not in it:\n{json.dumps(line)}")
        return False
    return True


def write_or_say(path: Path, content: Any) -> bool:
    """Write a JSON file whole; where the system refuses, as `append_or_say`. What the file said before stays."""
    before = "still says what it said before" if path.exists() else "is not there"
    try:
        write_json(path, content)
    except OSError as error:
        say_refused(path, error, f"the file {before}; this should be in it:\n{json.dumps(content)}")
        return False
    return True


def say_refused(path: Path, error: OSError, words: str) -> None:
    """Say on standard error what the system refused to write, and what comes of it."""
    reason = (error.strerror or str(error)).lower()
    print(f"attention: {path}: {reason}; {words}", file=sys.stderr, flush=True)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, none if it is absent. A last line that a crash cut short is left out.

    Raises RunDirError for a line that is no JSON object.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    complete = lines[:-1]  # what follows the last newline is empty or cut short
    return [_line(path, number, line) for number, line in enumerate(complete, start=1) if line.strip()]


def _line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return _object(line)
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else error  # its own number of a line would be 1
        raise RunDirError(
            f"{path} is damaged in line {number} ({reason}); put back a copy of the file, or take that line out"
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object that describes a folder. Raises RunDirError where the file is damaged."""
    try:
        return _object(path.read_bytes())
    except ValueError as error:
        raise RunDirError(
            f"{path} is damaged: {error}; put back a copy of it, or start anew in another folder"
        ) from error


def _object(content: bytes) -> dict[str, Any]:
    found = json.loads(content.decode("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it is no JSON object")
    return found


def drop_lines_after(path: Path, step: int) -> None:
    """Remove the lines past a step: a resumed run writes them again."""
    kept = [line for line in read_lines(path) if line["step"] <= step]
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
