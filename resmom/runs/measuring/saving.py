"""Keeping the one classifier that a measurement trains."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from resmom.config import to_json
from resmom.errors import UserError
from resmom.evaluate.score import Classified, Score
from resmom.export.weights import About
from resmom.runs.classifierfile import require_savable, save_classifier
from resmom.runs.loaded import Loaded
from resmom.runs.own import part_words
from resmom.which import Network, Which


def require_one_classifier(path: Path, loaded: Loaded, network: Which, kinds: Sequence[str], draws: int) -> None:
    """Raise UserError unless exactly one classifier is trained, of those `kinds` for each network, a file can hold it,
    and `path` can be that file.
    """
    networks = loaded.networks(network)
    trained = [f"{kind} of the {name}" for name in networks for kind in kinds]
    if len(trained) != 1 or draws > 1:
        several = f"{len(trained) * draws} ({', '.join(trained)}{f', {draws} times each' if draws > 1 else ''})"
        raise UserError(
            f"--save-classifier keeps one classifier, and this call trains {several if trained else 'none'}; ask for "
            "one: --network student or teacher, one of --protocols linear, --linear-crop and --finetune, and no --draws"
        )
    if given := loaded.written.get("own", {}).get("backbone"):
        raise UserError(
            f"the backbone of this run, {given}, was given from Python, and no file could say how it is built again; "
            "leave --save-classifier out"
        )
    require_savable(path)


def save_or_say(
    path: Path, found: Classified, loaded: Loaded, classes: tuple[str, ...], row: tuple[str, Score, str]
) -> None:
    """Write the classifier; where the system refuses, say so on standard error: its score is told all the same.

    `row`: whose it is, the score as it is told, and the images in a word.
    """
    name, score, data = row
    run, policy = loaded.run, loaded.policy
    architecture, side = to_json(run)["backbone"], policy.views[0].size
    about = About(cast(Network, name), architecture, loaded.step, policy.mean, policy.std, side)
    more = {"method": part_words(loaded.written, run, "method"), "protocol": score.protocol, "data": data}
    try:
        save_classifier(path, found, run.backbone, about, policy.views[0].interpolation, classes, more)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        print(f"attention: {path}: {reason}; the classifier is lost", file=sys.stderr, flush=True)
