"""Keeping the one classifier that a measurement trains."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from resmom.errors import UserError
from resmom.evaluate.score import Classified, Score
from resmom.runs.classifierfile import Provenance, require_savable, save_classifier
from resmom.runs.loaded import Loaded
from resmom.which import Network, Which


def require_one_classifier(path: Path, loaded: Loaded, network: Which, kinds: Sequence[str], draws: int) -> None:
    """Raise UserError unless exactly one classifier is trained, of those `kinds` for each network, and `path` can take
    it."""
    networks = loaded.networks(network)
    trained = [f"{kind} of the {name}" for name in networks for kind in kinds]
    if len(trained) != 1 or draws > 1:
        several = f"{len(trained) * draws} ({', '.join(trained)}{f', {draws} times each' if draws > 1 else ''})"
        raise UserError(
            f"--save-classifier keeps one classifier, and this call trains {several if trained else 'none'}; ask for "
            "one: --network student or teacher, one of --protocols linear, --linear-crop and --finetune, and no --draws"
        )
    require_savable(path, loaded)


def save_or_say(
    path: Path, found: Classified, loaded: Loaded, classes: tuple[str, ...], row: tuple[str, Score, str]
) -> None:
    """Write the classifier; where the system refuses, say so on standard error: its score is told all the same.

    `row`: whose it is, the score as it is told, and the images in a word.
    """
    name, score, data = row
    try:
        save_classifier(path, found, loaded, classes, Provenance(cast(Network, name), score.protocol, score.top1, data))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"attention: {path}: {reason}; the classifier is lost", file=sys.stderr, flush=True)
