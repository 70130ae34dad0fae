"""Compute the numbers of the result pages anew from the committed result files.

    python -m benchmarks.pages            # rewrite the tables and figures under docs/
    python -m benchmarks.pages --check    # change nothing; status 1 if a page is not what its files say
    python -m benchmarks.pages collect OUT FILE   # the finished cells of a comparison's folder as a result file

A page is prose with blocks between `<!-- NAME -->` and `<!-- /NAME -->`; what stands there is replaced.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.ended import ended
from benchmarks.pages.collect import collect
from benchmarks.pages.page import stale
from benchmarks.pages.registry import FIGURES, PAGES

DOCS = Path(__file__).parents[2] / "docs"


def main(arguments: Sequence[str]) -> int:
    if list(arguments[:1]) == ["collect"]:
        parser = argparse.ArgumentParser(prog="python -m benchmarks.pages collect")
        parser.add_argument("out", type=Path, help="the folder of `resmom compare`")
        parser.add_argument("file", type=Path, help="the result file to write")
        a = parser.parse_args(arguments[1:])
        print(f"{collect(a.out, a.file)} cells in {a.file}")
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--check", action="store_true")
    a = parser.parse_args(arguments)
    found = stale(DOCS, PAGES, FIGURES)
    for path, text in found.items():
        print(f"{path.relative_to(DOCS)} {'is not what its files say' if a.check else 'written'}")
        if not a.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 1 if a.check and found else 0


if __name__ == "__main__":
    ended("pages", main)
