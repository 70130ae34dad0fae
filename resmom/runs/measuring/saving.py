"""Keeping the one classifier that a measurement trains."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from resmom.called import called, setting
from resmom.config import to_json
from resmom.errors import UserError
from resmom.evaluate.score import Classified, Score
from resmom.export.weights import About
from resmom.jsonfiles import say_refused
from resmom.runs.loaded import Loaded
from resmom.runs.measurable import Measurable
from resmom.runs.measuring.asked import Asked
from resmom.runs.measuring.classifierfile import require_savable, save_classifier
from resmom.runs.own import given, part_kind
from resmom.which import H, Which

Save = Callable[[Classified, tuple[str, ...], tuple[str, Score, str]], None]
"""Keeps a classifier: itself, the classes of the data, and `row` as in `save_or_say`."""


def saver(subject: Measurable, network: Which, asked: Asked) -> Save | None:
    """What keeps the classifier that is trained; None where none is to be kept.

    Raises UserError where this is not a run's, and as `require_one_classifier`.
    """
    more = asked.more
    if (path := more.save_classifier) is None:
        return None
    if not isinstance(subject, Loaded):
        raise UserError(
            f"{called('save_classifier')} keeps what is trained on a network of a RUN, and {subject.what} is without "
            f"one; leave {called('save_classifier')} out"
        )
    wanted = ("linear" in asked.protocols, more.linear_crop is not None, more.finetune is not None)
    kinds = [
        kind for kind, there in zip(("linear", called("linear_crop"), called("finetune")), wanted, strict=True) if there
    ]
    require_one_classifier(path, subject, network, kinds, more.draws)
    if more.linear_crop is not None and more.linear_crop.layer != H:
        raise UserError(
            f"{called('save_classifier')} keeps a network and a layer on its h; leave "
            f"{setting('linear_crop.layer', more.linear_crop.layer)} out"
        )
    return partial(save_or_say, path, subject)


def require_one_classifier(path: Path, loaded: Loaded, network: Which, kinds: Sequence[str], draws: int) -> None:
    """Raise UserError unless exactly one classifier is trained, of those `kinds` for each network, a file can hold it,
    and `path` can be that file.
    """
    networks = loaded.networks(network)
    trained = [f"{kind} of the {name}" for name in networks for kind in kinds]
    if len(trained) != 1 or draws > 1:
        several = f"{len(trained) * draws} ({', '.join(trained)}{f', {draws} times each' if draws > 1 else ''})"
        raise UserError(
            f"{called('save_classifier')} keeps one classifier, and this call trains {several if trained else 'none'}; "
            f"ask for one: {setting('network', 'student')} or teacher, one of {setting('protocols', 'linear')}, "
            f"{called('linear_crop')} and {called('finetune')}, and no {called('draws')}"
        )
    if name := given(loaded.written, "backbone"):
        raise UserError(
            f"the backbone of this run, {name}, was given from Python, and no file could say how it is built again; "
            f"leave {called('save_classifier')} out"
        )
    require_savable(path)


def save_or_say(
    path: Path, loaded: Loaded, found: Classified, classes: tuple[str, ...], row: tuple[str, Score, str]
) -> None:
    """Write the classifier; where the system refuses, say so on standard error: its score is told all the same.

    `row`: whose it is, the score as it is told, and the images in a word.
    """
    name, score, data = row
    run = loaded.run
    about = About.of(name, to_json(run)["backbone"], loaded.step, loaded.policy)
    more = {"method": part_kind(loaded.written, run, "method"), "protocol": score.protocol, "data": data}
    try:
        save_classifier(path, found, run.backbone, about, classes, more)
    except OSError as error:
        say_refused(path, error, "the classifier is lost")
