"""The options of a command that name weights instead of a run. No torch; `asked_for` of bare.py makes them."""

from dataclasses import dataclass
from pathlib import Path

from resmom.errors import UserError
from resmom.norun import CONFIG
from resmom.rundir import run_of
from resmom.which import Stem, Which


@dataclass(frozen=True)
class Instead:
    """Which weights are meant, and what they were trained to see where nothing says it."""

    init: str = ""
    """Instead of RUN: a file of weights, whoever wrote it (.safetensors, torch file, run's checkpoint), or timm:NAME
    for published ones, which are downloaded."""
    backbone: str = ""
    """Instead of RUN: what --init has the weights of, if it is none of the common ones; without --init, random weights
    of it, as a floor."""
    stem: Stem | None = None
    """Of a ResNet: the small ones cannot be told apart by their weights; by default the file's own, or small."""
    mean: tuple[float, ...] = ()
    """Per channel of pixels in [0, 1], what the weights were trained to see; by default as the file says, else as is
    usual for the backbone. Goes with --std."""
    std: tuple[float, ...] = ()

    @property
    def asked(self) -> bool:
        """Whether weights are named."""
        return bool(self.init or self.backbone)


def require_one(run: Path | None, weights: Instead, *, classifiers: bool = False) -> None:
    """Raise UserError unless exactly one of the two is named, and where something else is given as a RUN.

    `classifiers`: a file of `resmom evaluate --save-classifier` stands for a RUN, too.
    """
    if run is not None and weights.asked:
        raise UserError("give a RUN, or --init FILE and --backbone NAME for weights without a run, and not both")
    if not weights.asked and weights != Instead():
        raise UserError("--stem, --mean and --std go with --init or --backbone; a RUN says them itself")
    if run is None and not weights.asked:
        raise UserError(
            "RUN is missing: a run folder, or one checkpoint of it; or name weights without a run, --init FILE, or "
            "--backbone NAME for random ones"
        )
    if (Path(weights.init) / CONFIG).is_file():
        raise UserError(f"{weights.init} is a run folder, which is named by itself: leave --init out")
    if run is not None and run.exists() and not (classifiers and is_classifier_named(run)):
        run_of(run)  # what is there and is no run is told before torch is imported


def is_classifier_named(run: Path) -> bool:
    """Whether what stands in a RUN's place may be a file of `resmom evaluate --save-classifier`."""
    return run.suffix == ".safetensors" and run.is_file()


def require_alone(network: Which) -> None:
    """Raise UserError where one of a run's networks is named: weights by themselves are one."""
    if network != "both":
        raise UserError(f"--network {network} is one of a RUN's; weights by themselves are one network, leave it out")
