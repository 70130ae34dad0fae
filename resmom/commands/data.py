"""resmom data check|pack PATH"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from resmom.commands import parse, print_json, say, set_threads
from resmom.errors import UserError

if TYPE_CHECKING:
    from resmom.data.check import Checked, Peculiar
    from resmom.data.packing import Packing
    from resmom.data.peculiar import Kind

USAGE = """usage: resmom data check PATH [--threads N] [--json]
       resmom data pack PATH --out DIR [--side 256] [--quality 95] [--workers N] [--threads N] [--json]

check: read every image, and say how many there are, of which sizes and classes, which are read in part only (pages,
channels) or use few grey levels, and which cannot be read and why. --json names all of them.
pack: put the images of a folder into few large files, reduced to a shorter side; DIR is then used as --data.
"""

EXAMPLES = 3
"""Names of each kind in the words."""


@dataclass(frozen=True)
class Check:
    path: tyro.conf.Positional[str]
    """A folder of images, a pack, an .npz file, or cifar10, cifar100, stl10."""
    threads: int = 0
    """Threads that read and decode the images; 0: as many as pay."""
    json: bool = False
    """Print the result as JSON, with the names of all images that something is said of."""


@dataclass(frozen=True)
class Pack:
    path: tyro.conf.Positional[str]
    """A folder of images, tar archives, or another pack."""
    out: Path
    """The folder of the pack: new, empty, or left in the middle of the same command."""
    side: int = 0
    """Reduce images whose shorter side is longer to this many pixels, as JPEG; 0 keeps all files as they are."""
    quality: int = 95
    """Of the JPEGs that are made."""
    workers: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Threads that decode; 0: one per core, or as --threads says."""
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the result as JSON."""


def main(arguments: list[str]) -> int:
    """Check (1 if something cannot be read) or pack."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    match arguments[0]:
        case "check":
            a = parse(Check, arguments[1:], "resmom data check", "Read every image of a data set.")
            from resmom.data.check import check
            from resmom.data.errors import UnreadableData

            set_threads(a.threads)
            try:
                found = check(a.path, a.threads)
            except UnreadableData as error:  # what was asked is answered
                print(f"resmom data check: {error}", file=sys.stderr)
                return 1
            if a.json:
                print_json([dataclasses.asdict(split) for split in found])
            else:
                print("\n".join(_words(split) for split in found))
                for note in found[0].notes:
                    print(note)
                if found[0].passed_over:
                    print(f"passed over: {found[0].passed_over}")
            return int(any(split.damaged for split in found))
        case "pack":
            b = parse(Pack, arguments[1:], "resmom data pack", "Put the images of a folder into few large files.")
            from resmom.data.loader import workers_here
            from resmom.data.packing import pack

            set_threads(b.threads)
            try:
                made = pack(b.path, b.out, b.side, b.quality, b.workers or workers_here(), say)
            except KeyboardInterrupt:
                print(f"resmom data pack: interrupted; the same command goes on in {b.out}", file=sys.stderr)
                return 130
            if b.json:
                print_json({**dataclasses.asdict(made), "path": str(made.path)})
            else:
                print(_packed(made))
            return 0
        case other:
            raise UserError(
                f"there is no '{other}'; it is `resmom data check PATH` or `resmom data pack PATH --out DIR`"
            )


def _words(split: "Checked") -> str:
    if split.sides is None or not split.images:
        lines = [f"{split.split}: none of {len(split.damaged)} images can be read:"]
        return "\n".join([*lines, *_damaged(split)])
    low, middle, high = split.sides
    lines = [f"{split.split}: {split.images} images, shorter sides {low} to {high} pixels (median {middle})"]
    if split.per_class:
        few, many = split.per_class
        rest = f", {split.unlabelled} images without a label" if split.unlabelled else ""
        lines.append(f"  {split.classes} classes of {few} to {many} images{rest}")
        lines.append(
            f"  classes{f' from {split.labels_from}' if split.labels_from else ''}: {', '.join(split.first_classes)}"
        )
    else:
        lines.append("  no labels")
    lines += [f"  {_peculiar(each)}" for each in split.peculiar]
    if any(each.images > EXAMPLES for each in split.peculiar):
        lines.append(f"  (--json names all of them{_at_most(split)})")
    lines.append(f"  {len(split.damaged)} cannot be read" + (":" if split.damaged else ""))
    return "\n".join([*lines, *_damaged(split)])


def _damaged(split: "Checked") -> list[str]:
    return [f"    {name!a}: {reason}" for name, reason in split.damaged]


_PECULIAR: dict["Kind", tuple[str, str]] = {
    "pages": ("further pages or frames, of which the first alone is read", ""),
    "channels": ("further channels, of which the first three are read, or one of grey", ""),
    "transparent": ("an alpha channel that is not opaque: what is seen through is white", ""),
    "few_levels_wide": (
        "more than 8 bits a value, but few of the 256 grey levels that are read",
        "; stretch them before, all by the same range (docs/data.md)",
    ),
    "few_levels": (
        "few of the 256 grey levels",
        "; where their originals have more bits, stretch these before, all by the same range (docs/data.md)",
    ),
}
"""What images of each kind have, and what to do."""


def _peculiar(found: "Peculiar") -> str:
    what, remedy = _PECULIAR[found.kind]
    have = "1 image has" if found.images == 1 else f"{found.images} images have"
    return f"{have} {what}, such as {', '.join(map(ascii, found.names[:EXAMPLES]))}{remedy}"


def _at_most(split: "Checked") -> str:
    """The end of a sentence on all names, where some are too many."""
    from resmom.data.check import MOST_NAMES

    return f", of a kind {MOST_NAMES} at most" if any(each.images > MOST_NAMES for each in split.peculiar) else ""


def _packed(made: "Packing") -> str:
    counts = ", ".join(f"{name} {count}" for name, count in made.images.items())
    lines = [f"packed: {counts} images, {made.bytes / 2**20:.0f} MiB, in {made.path}"]
    if made.unreadable:
        lines.append(f"{len(made.unreadable)} could not be read and are left out:")
        lines += [f"  {name!a}: {reason}" for name, reason in made.unreadable]
    lines.append(f"use it with:\n  resmom pretrain --data {made.path} --out RUN")
    return "\n".join(lines)
