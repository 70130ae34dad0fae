"""A page of prose in which some blocks are computed."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from resmom.errors import UserError

Make = Callable[[Path], str]
"""From the folder docs/ to the text of a block or a figure."""


def filled(text: str, blocks: Mapping[str, str], page: str) -> str:
    """The page with its blocks replaced. Raises UserError for a block without marks, and for marks without a block."""
    marked = set(re.findall(r"<!-- /([\w-]+) -->", text))
    if marked != blocks.keys():
        missing, unknown = sorted(blocks.keys() - marked), sorted(marked - blocks.keys())
        raise UserError(
            f"{page}: no place for {missing or 'nothing'}, and nothing for {unknown or 'no place'}; a block stands "
            "between <!-- NAME --> and <!-- /NAME -->, and is made in benchmarks/pages/registry.py"
        )
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, times = pattern.subn(lambda found, block=block: f"{found[1]}{block}\n{found[2]}", text)  # type: ignore[misc]
        if times != 1:
            raise UserError(f"{page}: block {name} is there {times} times; it must be there once")
    return text


def stale(docs: Path, pages: Mapping[str, Mapping[str, Make]], figures: Mapping[str, Make]) -> dict[Path, str]:
    """What the pages and figures under `docs` ought to be, of those that are something else."""
    found = {docs / name: make(docs) for name, make in figures.items()}
    for name, blocks in pages.items():
        path = docs / name
        made = {block: make(docs) for block, make in blocks.items()}
        found[path] = filled(path.read_text(encoding="utf-8"), made, name)
    return {path: text for path, text in found.items() if not path.exists() or path.read_text("utf-8") != text}
