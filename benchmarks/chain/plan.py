"""A chain: a grid of pretraining runs in several budgets, and the detector that every one of them ends in.

A file is a grid file (docs/compare.md) with more fields:

    {"name": "voc_tiny", "about": "what is asked, and why",
     "recipe": "mocov3_cifar100_small", "set": {"image_size": 64},
     "arms": {"mocov3": {}, "res-moco": {"residual.weight": 1}},
     "budgets": {"10ep": {"train.epochs": 10}, "40ep": {"train.epochs": 40}},
     "against": {"res-moco": "mocov3"},
     "detect": {"recipe": "detect_small", "set": {"steps": 1200}},
     "network": "student",
     "seeds": [0, 1, 2]}

Every arm is trained in every budget, as `ARM-BUDGET`; `random`, the backbone without pretraining, comes by itself and
first. `against` names pairs of arms that are compared within a budget. `network` says what becomes a detector: student,
teacher, or both, which is the usual. One seed is that of pretraining and detector.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from resmom.config import ConfigError, part_from_json, part_to_json
from resmom.evaluate.detection import Detect
from resmom.recipes.detection import detection_recipe
from resmom.runs.comparisons.grid import FIELDS, Cell, Grid, grid_of, once
from resmom.runs.options import changed
from resmom.views.policy import IMAGENET
from resmom.which import Network, Which

RANDOM = "random"
"""The arm without pretraining, which the others must exceed."""
OWN = ("budgets", "against", "detect", "network")
"""The fields that a chain has and a grid has not."""


@dataclass(frozen=True)
class Chain:
    """The pretraining runs, the settings of the detectors, by arm the one that it is compared with, and which networks
    become detectors."""

    grid: Grid
    detect: Detect
    against: Mapping[str, str]
    network: Which = "both"

    @property
    def name(self) -> str:
        return self.grid.name

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that become detectors, by name."""
        return get_args(Network) if self.network == "both" else (self.network,)

    def cells(self) -> list[Cell]:
        """Every cell, seed by seed, `random` first.

        Raises ConfigError as `Grid.cells` does, and for arms whose detectors could not be compared with `random`.
        """
        trained = self.grid.cells()
        for cell in trained:
            if not cell.run.method.traits.sites:
                raise ConfigError(f"arm {cell.arm} has no teacher; a chain compares detectors of student and teacher")
            if cell.run.backbone != self.grid.base.backbone:
                raise ConfigError(f"arm {cell.arm} has a backbone of its own; all must have one, set it for all")
            if (cell.run.policy.mean, cell.run.policy.std) != IMAGENET or cell.run.init:
                raise ConfigError(
                    f"arm {cell.arm}: {RANDOM} is given pixels normalised as ImageNet's and no weights of a file; set "
                    f"policy.mean to {list(IMAGENET[0])}, policy.std to {list(IMAGENET[1])}, and leave init empty"
                )
        found = []
        for seed in self.grid.seeds:
            found.append(Cell(RANDOM, 0, {}, seed, changed(self.grid.base, {"train.seed": seed})))
            found += [replace(cell, place=cell.place + 1) for cell in trained if cell.seed == seed]
        return found

    def detector(self, seed: int) -> Detect:
        """The settings of the detectors of a seed."""
        return replace(self.detect, seed=seed)


def read_chain(path: Path) -> Chain:
    """The chain of a file. Raises ConfigError that names what is wrong in it."""
    try:
        return chain_of(json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once), path.stem)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (json.JSONDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def chain_of(content: Any, name: str = "chain") -> Chain:
    """The chain that the plain values of a file describe."""
    if not isinstance(content, dict) or not {"arms", "budgets", "detect"} <= content.keys():
        raise ConfigError(f"a chain is an object with arms, budgets and detect; it may have {', '.join(FIELDS + OWN)}")
    if unusable := content.keys() & {"vary", "held_out"}:
        raise ConfigError(f"a chain has no '{min(unusable)}'; its arms are named, and its test images are given")
    arms, budgets, against = (_objects(content, field) for field in ("arms", "budgets", "against"))
    for one, other in against.items():
        if one not in arms or other not in arms:
            raise ConfigError(f"against: '{one}' and '{other}' must both be arms; there are {', '.join(arms)}")
    product = {
        f"{arm}-{budget}": {**settings, **length}
        for budget, length in budgets.items()
        for arm, settings in arms.items()
    }
    grid = grid_of({**{k: v for k, v in content.items() if k not in OWN}, "arms": product}, name)
    pairs = {f"{one}-{budget}": f"{other}-{budget}" for budget in budgets for one, other in against.items()}
    network = content.get("network", "both")
    if network not in get_args(Which):
        raise ConfigError(f"network is one of {', '.join(get_args(Which))}; got {network!r}")
    return Chain(grid, _detect(content["detect"]), pairs, network)


def _objects(content: Mapping[str, Any], field: str) -> dict[str, Any]:
    found = content.get(field, {})
    inner = str if field == "against" else dict
    if not isinstance(found, dict) or not all(isinstance(value, inner) for value in found.values()):
        form = '{"res-moco": "mocov3"}' if field == "against" else '{"short": {"train.epochs": 10}}'
        raise ConfigError(f"{field} is an object such as {form}; got {found!r}")
    return found


def _detect(content: Any) -> Detect:
    """The settings of the detector: a recipe, and options by their dotted names."""
    if (
        not isinstance(content, dict)
        or not isinstance(content.get("recipe"), str)
        or content.keys() - {"recipe", "set"}
    ):
        raise ConfigError(f'detect is {{"recipe": "detect_small", "set": {{"steps": 1200}}}}; got {content!r}')
    plain = part_to_json(detection_recipe(content["recipe"]))
    for option, value in content.get("set", {}).items():
        *above, last = option.split(".")
        place: Any = plain
        for part in above:
            place = place.get(part) if isinstance(place, dict) else None
        if not isinstance(place, dict) or option in ("seed", "recipe"):
            raise ConfigError(f"detect has no setting '{option}' here; it may set {', '.join(_settings(plain))}")
        place[last] = value
    return part_from_json(plain, Detect)


def _settings(plain: Mapping[str, Any]) -> list[str]:
    return [name for name in plain if name not in ("seed", "recipe")]
