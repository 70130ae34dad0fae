"""`resmom evaluate … --against WEIGHTS`: other weights, measured on the same images by the same protocols."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from resmom.data.source import Data
from resmom.errors import UserError
from resmom.nets.fit import OptionNames
from resmom.runs.alone.bare import Bare, bare
from resmom.runs.measuring.alone import evaluate_alone
from resmom.runs.measuring.asked import ALONE, Asked
from resmom.runs.measuring.rows import Incomplete, Row, in_part
from resmom.runs.measuring.verdict import TRAINED

OPTIONS = OptionNames("against", "against_backbone", stem="", settings=False, normalisation=False)
AUTO = "auto"
"""In place of a backbone's name: as the file says, or as it is recognised."""


def opponents(
    names: Sequence[str], backbones: Sequence[str], asked: Asked, image_size: int | None, device: str
) -> dict[str, Bare]:
    """Weights by what they are called in the results: the name of their file, or timm:NAME.

    `backbones`: what each has the weights of, by name or `AUTO`; of none named, each is `AUTO`. Each sees images as its
    file says, or as is usual for it; at `image_size` where that is given. Raises UserError for weights that cannot be
    had, for two of one name, for another number of backbones, and where nothing is asked for that can be measured of
    them.
    """
    if backbones and not names:
        raise UserError("--against-backbone is of the weights of --against, and there are none")
    if backbones and len(backbones) != len(names):
        raise UserError(
            f"--against names {len(names)} weights, --against-backbone {len(backbones)}; it takes a name for each, in "
            f"the same order, {AUTO} for those whose file says it or is recognised"
        )
    if names and not _of_weights(asked).protocols and not asked.more.measures:
        raise UserError(
            f"--against measures what needs no run ({', '.join(ALONE)}, --linear-crop, --low-shot, --finetune, "
            "--sweep), and none of it is asked for"
        )
    found: dict[str, Bare] = {}
    for name, backbone in zip(names, backbones or [AUTO] * len(names), strict=True):
        called = Path(name).name
        if called in found:
            raise UserError(f"--against has two weights of the name '{called}'; rename one of the files")
        if called in TRAINED:
            raise UserError(f"'{called}' is what the results call a network; rename that file of --against")
        found[called] = bare(
            name, None if backbone == AUTO else backbone, image_size=image_size, device=device, options=OPTIONS
        )
    return found


def evaluate_against(weights: Bare, called: str, data: str | Data, asked: Asked, out: Path | None) -> list[Row]:
    """The rows of other weights, under their name: all that was asked for but what needs a run. See `evaluate_alone`,
    by which the lines in `out` have `init` for a name, and say in `weights` which they are of.

    Baselines are those of what they are compared with, and are left out. Raises as that does.
    """
    try:
        return [replace(row, network=called) for row in evaluate_alone(weights, data, _of_weights(asked), out)]
    except Incomplete as error:
        raise error.renamed(called) from error


def all_against(
    others: Mapping[str, Bare], data: str | Data, asked: Asked, out: Path | None
) -> tuple[list[Row], list[str]]:
    """The rows of all weights of `opponents`, and sentences on what has none, as `in_part` has both. What one of them
    cannot be measured by ends neither the others' measurements nor those that came before.
    """
    rows: list[Row] = []
    missing: list[str] = []
    for called, weights in others.items():
        try:
            found, without = in_part(partial(evaluate_against, weights, called, data, asked, out))
        except UserError as error:
            found, without = [], [f"{called}: {error}"]
        rows += found
        missing += without
    return rows, missing


def _of_weights(asked: Asked) -> Asked:
    plain = tuple(protocol for protocol in asked.protocols if protocol in ALONE)
    return replace(
        asked, protocols=plain, baselines=False, more=replace(asked.more, image_size=None, save_classifier=None)
    )
