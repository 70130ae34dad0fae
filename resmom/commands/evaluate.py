"""resmom evaluate RUN [--data DATA], resmom evaluate --init FILE --data DATA"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from resmom.commands import Flat, parse, print_json, say, set_threads
from resmom.commands.rows import remarks, table
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, Linear, LinearCrop, OtherKnn
from resmom.rundir import RunDir, find_run
from resmom.runs.alone.instead import Instead, require_alone, require_one
from resmom.runs.measuring.asked import ALONE, PROTOCOLS, Asked, Protocol, changed, is_share, refuse_unused
from resmom.runs.measuring.asked import asked as asked_of
from resmom.which import Which

if TYPE_CHECKING:
    from resmom.data.source import Data
    from resmom.runs.alone.bare import Bare
    from resmom.runs.measuring.rows import Row

    Found = tuple[list[Row], list[str]]
    """Rows, and sentences on what of all that was asked for has none."""


ABOUT = "kNN, linear probe, online classifier of student and teacher, or few labels, layers, fine-tuning."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path | None] = None
    """A run folder, or one checkpoint of it."""
    weights: Flat[Instead] = field(default_factory=Instead)
    against: tuple[str, ...] = ()
    """Other weights to measure on the same images by the same protocols: files, or timm:NAME. They are printed; with
    --init and --out they are kept, too."""
    against_backbone: tuple[str, ...] = ()
    """What --against has the weights of, one name for each in the same order, where they are none of the common
    backbones; auto for those that are."""
    data: str | None = None
    """Labelled images: a folder, an .npz file or a name; the run's own data by default."""
    network: Which = "both"
    protocols: tuple[Protocol, ...] | None = None
    """All three by default (of weights without a run, knn and linear), or none where another kind of measurement is
    asked for."""
    knn: OtherKnn = field(default_factory=OtherKnn)
    linear: Linear = field(default_factory=Linear)
    linear_crop: bool = False
    """The linear probe of the published tables, trained on random crops; how, say the options --probe."""
    probe: LinearCrop = field(default_factory=LinearCrop)
    baselines: bool = False
    """Add kNN of raw pixels, of normalised pixels, and of the untrained network."""
    low_shot: str | None = None
    """Labelled images per class, such as 1,5,10: logistic regression and kNN, mean and spread over draws."""
    draws: int | None = None
    """How often to measure, for mean and spread: with other images of --low-shot (5 by default) or --labels SHARE, and
    with the next seed where a classifier is trained (1 by default)."""
    finetune: bool = False
    """Train the whole network with a classifier, a copy of each; how, say the options --tuning."""
    tuning: Finetune = field(default_factory=Finetune)
    sweep: bool = False
    """Linear probes of all layers and poolings on the grid --linear; the best on held-out training images is tested."""
    all: bool = False
    """Which network to keep: student or teacher, which kept checkpoint, which layer; `resmom export` goes by it."""
    image_size: int | None = None
    """Side of all images in pixels, by default that of the views; larger ones may tell convolutional networks more. Of
    a RUN not for --linear-crop, --finetune and --all."""
    labels: str = ""
    """Learn from some of the labels: a share of every class (0.01), or a file with a file name per line."""
    seed: int = 0
    """Of the images that --low-shot and --labels SHARE draw."""
    save_classifier: Path | None = None
    """Of a RUN: keep the one classifier that is trained (--protocols linear, --linear-crop or --finetune) in this new
    file (.safetensors), for `resmom predict`."""
    out: Path | None = None
    """Of weights without a run: a folder for the results; without it they are printed and nothing is kept. Those of
    a RUN go to its own folder."""
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Measure, and print a line per result under the protocol that it was measured by."""
    a = parse(Arguments, arguments, "resmom evaluate", ABOUT)
    require_one(a.run, a.weights)
    refuse_unused(
        {
            changed("linear_crop", a.probe): a.probe == LinearCrop() or a.linear_crop,
            changed("finetune", a.tuning): a.tuning == Finetune() or a.finetune,
        }
    )
    if a.against and a.all:
        raise UserError("--all chooses among the networks and kept checkpoints of a RUN; leave --against out")
    if a.weights.asked:
        return _alone(a)
    if a.out is not None:
        raise UserError("--out goes with --init and --backbone; what is found of a RUN is kept in its own folder")
    if a.all:
        return _keep(a)
    asked = _asked(a, PROTOCOLS)
    from resmom.runs.measuring.evaluate import evaluate
    from resmom.runs.measuring.rows import in_part
    from resmom.runs.own import opened_again

    set_threads(a.threads)
    assert a.run is not None
    data: str | Data | None = a.data
    if others := _opponents(a, asked):  # the same images for all of them
        folder, _ = find_run(a.run)
        data = opened_again(folder, folder.written(), a.data, "evaluate")
    how = (a.run, data, a.network, asked.protocols, asked.linear, asked.baselines, a.device)
    own = in_part(partial(evaluate, *how, more=asked.more))
    return _told(a, own, _against(others, data, asked, None), asked, find_run(a.run)[0].evaluations)


def _opponents(a: Arguments, asked: Asked) -> "dict[str, Bare]":
    """The weights of --against, before anything is measured, with what was found or assumed of them."""
    from resmom.runs.measuring.against import opponents

    found = opponents(a.against, a.against_backbone, asked, a.image_size, a.device)
    for called, weights in found.items():
        for sentence in weights.told:
            say(f"{called}: {sentence.replace(f' from {called}', '', 1)}")
    return found


def _against(others: "dict[str, Bare]", data: "str | Data | None", asked: Asked, out: Path | None) -> "Found":
    from resmom.runs.measuring.against import all_against

    if data is None:  # the run's own, and no others to measure on them
        return [], []
    return all_against(others, data, asked, out)


def _asked(a: Arguments, usual: tuple[Protocol, ...]) -> Asked:
    if a.protocols == ():
        raise UserError(f"--protocols needs at least one of {', '.join(usual)}, or leave it out for all")
    return asked_of(
        a.protocols,
        usual=usual,
        baselines=a.baselines,
        knn=a.knn,
        linear=a.linear,
        linear_crop=a.probe if a.linear_crop else False,
        low_shot=_shots(a),
        finetune=a.tuning if a.finetune else False,
        sweep=a.sweep,
        labels=a.labels,
        seed=a.seed,
        draws=a.draws,
        image_size=None if a.weights.asked else a.image_size,
        save_classifier=a.save_classifier,
    )


def _alone(a: Arguments) -> int:
    """Weights without a run."""
    if a.all:
        raise UserError(
            "--all chooses among the networks and kept checkpoints of a RUN; --sweep tells which layer of these "
            "weights is best"
        )
    if a.save_classifier is not None:
        raise UserError("--save-classifier keeps what is trained on a network of a RUN; leave it out with --init")
    require_alone(a.network)
    if a.data is None:
        raise UserError("--data is missing: labelled images to measure these weights on (a RUN knows its own)")
    asked = _asked(a, ALONE)
    from resmom.data.open import open_data
    from resmom.runs.alone.bare import asked_for
    from resmom.runs.measuring.alone import evaluate_alone
    from resmom.runs.measuring.rows import in_part

    set_threads(a.threads)
    found, others = asked_for(a.weights, a.image_size, a.device), _opponents(a, asked)
    data = open_data(a.data)
    rows = in_part(partial(evaluate_alone, found, data, asked, a.out))
    theirs = _against(others, data, asked, a.out)
    return _told(a, rows, theirs, asked, None if a.out is None else RunDir(a.out).evaluations)


def _told(a: Arguments, measured: "Found", against: "Found", asked: Asked, kept: Path | None) -> int:
    """Print the rows, of which those `measured` are also in the file `kept`, and what has none.

    Raises UserError, with what has none, where that is all.
    """
    from resmom.runs.measuring.verdict import standing, verdict

    (own, lacking), (others, theirs) = measured, against
    rows, missing = own + others, lacking + theirs
    if not rows:
        raise UserError("; ".join(missing))
    saved = a.save_classifier is None or a.save_classifier.exists()
    status = 0 if saved and not missing and all(row.kept for row in rows) else 1
    if a.json:
        print_json([row.plain() for row in rows])
        for sentence in missing:
            say(sentence)
        return status
    for sentence in rows[0].labels:
        say(sentence)
    for line in table(rows, sized=bool(others)):
        print(line)
    ahead = standing(own, others)
    if ahead and a.image_size is None:
        ahead += " (each at the size that it is used to; --image-size N shows N pixels to all)"
    for said in filter(None, (verdict(own), ahead, *remarks(rows, a.linear))):
        print(said)
    for sentence in missing:
        print(sentence)
    if missing and kept is not None:
        print("what is kept, the same call would keep once more: ask for the missing alone, as with --protocols linear")
    if a.finetune and a.labels and "linear" not in asked.protocols:
        print(
            "with few labels a linear layer on the frozen features may do better than fine-tuning: "
            f"--protocols linear --labels {a.labels} measures it on the same images"
        )
    step = "" if rows[0].step is None else f", step {rows[0].step}"
    where = f"; also in {kept}" if kept is not None and all(row.kept for row in rows) else ""
    if where and others and a.out is None:
        where = f"; those of the run also in {kept}, those of --against nowhere"
    print(f"on {rows[0].data}{step}{where}" + ("; kept nowhere, --out FOLDER keeps it" if kept is None else ""))
    if a.save_classifier is not None and saved:
        print(
            f"the classifier is in {a.save_classifier}; it names other images with:\n"
            f"  resmom predict {a.save_classifier} --data PHOTOS --out predictions.csv"
        )
    return status


def _keep(a: Arguments) -> int:
    others = a.low_shot is not None or a.linear_crop or a.finetune or a.sweep or a.draws is not None
    if a.protocols is not None or a.baselines or others or a.save_classifier is not None:
        raise UserError(
            "--all is a measurement of its own; ask for the others in another call, of the network it names"
        )
    refuse_unused({"seed": a.seed == 0 or is_share(a.labels), changed("knn", a.knn): a.knn == OtherKnn()})
    if a.image_size is not None:
        raise UserError(
            "--all chooses at the side of the run's views: leave --image-size out, and measure the network that it "
            "names at another size in another call"
        )
    from resmom.export.keep import DEFAULT, by_network
    from resmom.runs.measuring.keep import keep

    set_threads(a.threads)
    assert a.run is not None
    kept = keep(a.run, a.data, a.network, a.linear, a.device, labels=a.labels, seed=a.seed)
    status = 0 if kept.written else 1
    if a.json:
        print_json(kept.content)
        return status
    for sentence in kept.row.labels:
        say(sentence)
    print(f"features '{DEFAULT}', on held-out training images:   best features:")
    print("  network      step     kNN  linear          linear")
    for m in by_network(kept.entries):
        mark = "*" if kept.picked.entry in (m.default, m.best) else " "
        usual = f"{mark} {m.default.network:<8} {m.default.step:>8}  {m.default.knn:6.2f}  {m.default.linear:6.2f}"
        print(f"{usual}          {m.best.linear:6.2f}  {m.best.features}")
    where = f"; all {len(kept.entries)} candidates are in {kept.file}" if kept.written else ""
    print(f"{kept.sentence}\non {kept.row.data}{where}")
    if kept.picked.entry.features != DEFAULT and kept.written:
        say(f"these features, of any images: resmom embed {a.run} --layer chosen --data PLACE --out FILE.npz")
    return status


def _shots(a: Arguments) -> list[int] | None:
    if a.low_shot is None:
        return None
    try:
        return [int(n) for n in a.low_shot.split(",")]
    except ValueError as error:
        raise UserError(f"--low-shot takes numbers of images per class, such as 1,5,10; got '{a.low_shot}'") from error
