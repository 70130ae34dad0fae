"""resmom evaluate RUN [--data DATA]"""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from resmom.commands import parse, print_json, set_process
from resmom.errors import UserError
from resmom.evaluate.finetune import Finetune
from resmom.evaluate.knn import OtherKnn
from resmom.evaluate.linear import Linear
from resmom.evaluate.linearcrop import LinearCrop
from resmom.evaluate.lowshot import LowShot
from resmom.export.keep import DEFAULT, by_network
from resmom.protocols import EDGE, chosen, shared_protocol
from resmom.rundir import find_run
from resmom.runs.machine import Machine
from resmom.runs.measuring.evaluate import PROTOCOLS, More, Protocol, Row, evaluate
from resmom.runs.measuring.keep import keep
from resmom.runs.measuring.labels import is_share
from resmom.runs.measuring.verdict import verdict
from resmom.which import Which

ABOUT = "kNN, linear probe, online classifier of student and teacher, or few labels, layers, fine-tuning."


@dataclass(frozen=True)
class Arguments:
    run: tyro.conf.Positional[Path]
    """A run folder, or one checkpoint of it."""
    data: str | None = None
    """Labelled images: a folder, an .npz file or a name; the run's own data by default."""
    network: Which = "both"
    protocols: tuple[Protocol, ...] | None = None
    """All three by default, or none where another kind of measurement is asked for."""
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
    """Side of all images in pixels, by default that of the views; larger ones may tell convolutional networks more. Not
    for --linear-crop, --finetune and --all."""
    labels: str = ""
    """Learn from some of the labels: a share of every class (0.01), or a file with a file name per line."""
    seed: int = 0
    """Of the images that --low-shot and --labels SHARE draw."""
    save_classifier: Path | None = None
    """Keep the one classifier that is trained (--protocols linear, --linear-crop or --finetune) in this new file
    (.safetensors), for `resmom predict`."""
    device: str = "auto"
    threads: int = 0
    """CPU threads; 0 is torch's choice."""
    json: bool = False
    """Print the results as JSON."""


def main(arguments: list[str]) -> int:
    """Measure, and print a line per result under the protocol that it was measured by."""
    a = parse(Arguments, arguments, "resmom evaluate", ABOUT)
    others = a.low_shot is not None or a.linear_crop or a.finetune or a.sweep
    protocols = a.protocols
    if protocols is None:  # what was asked for by name is measured alone, and beside the baselines what they belong to
        protocols = PROTOCOLS if not (others or a.all) else ("knn",) if a.baselines and not a.all else ()
    _require_used(a, protocols)
    set_process(Machine(threads=a.threads, keep_memory=False))
    if a.all:
        return _keep(a)
    if a.protocols == ():
        raise UserError(f"--protocols needs at least one of {', '.join(PROTOCOLS)}, or leave it out for all")
    draws = 1 if a.draws is None else a.draws
    probe, tuning = a.probe if a.linear_crop else None, a.tuning if a.finetune else None
    more = More(_low_shot(a), probe, tuning, a.sweep, a.labels, a.seed, draws, a.knn, a.image_size, a.save_classifier)
    rows = evaluate(a.run, a.data, a.network, protocols, a.linear, a.baselines, a.device, more=more)
    saved = a.save_classifier is None or a.save_classifier.exists()
    status = 0 if saved and all(row.kept for row in rows) else 1
    if a.json:
        print_json([row.plain() for row in rows])
        return status
    protocols_of = [shared_protocol(row.score.protocol) for row in rows]
    for protocol in dict.fromkeys(protocols_of):
        print(protocol)
        for row in (row for row, own in zip(rows, protocols_of, strict=True) if own == protocol):
            print(_line(row))
            for c in row.candidates:
                setting = f"lr {c.lr:g}, wd {c.weight_decay:g}" + (f"  draw {c.draw}" if len(row.draws) > 1 else "")
                print(
                    f"    {'*' if c.chosen else ' '} {c.held_out:6.2f} on held-out training images  {setting}  "
                    f"{c.features}"
                )
    for said in filter(None, (verdict(rows), *_remarks(rows, a.linear))):
        print(said)
    if a.finetune and a.labels and "linear" not in protocols:
        print(
            "with few labels a linear layer on the frozen features may do better than fine-tuning: "
            f"--protocols linear --labels {a.labels} measures it on the same images"
        )
    where = find_run(a.run)[0].evaluations
    print(f"on {rows[0].data}, step {rows[0].step}" + (f"; also in {where}" if all(row.kept for row in rows) else ""))
    if a.save_classifier is not None and saved:
        print(
            f"the classifier is in {a.save_classifier}; it names other images with:\n"
            f"  resmom predict {a.save_classifier} --data PHOTOS --out predictions.csv"
        )
    return status


def _require_used(a: Arguments, protocols: tuple[Protocol, ...]) -> None:
    """Refuse an option that nothing of what was asked for would look at."""
    share = is_share(a.labels)
    used = {
        "--seed": a.seed == 0 or share or a.low_shot is not None,
        "--baselines": not a.baselines or a.all or "knn" in protocols,
        "--knn": a.knn == OtherKnn() or "knn" in protocols or a.low_shot is not None,
        "--linear": a.linear == Linear() or a.all or a.sweep or "linear" in protocols,
        "--probe": a.probe == LinearCrop() or a.linear_crop,
        "--tuning": a.tuning == Finetune() or a.finetune,
    }
    needs = {
        "--seed": "--low-shot or --labels SHARE, whose images it draws (trainings have --linear.seed and so on)",
        "--baselines": "--protocols knn, by which the baselines are measured",
        "--knn": "--protocols knn or --low-shot (--all compares by the run's own)",
        "--linear": "--protocols linear, --sweep or --all",
        "--probe": "--linear-crop",
        "--tuning": "--finetune",
    }
    for option, there in used.items():
        if not there:
            raise UserError(f"{option} has no effect on what this call measures; it goes with {needs[option]}")


def _keep(a: Arguments) -> int:
    others = a.low_shot is not None or a.linear_crop or a.finetune or a.sweep or a.draws is not None
    if a.protocols is not None or a.baselines or others or a.save_classifier is not None:
        raise UserError(
            "--all is a measurement of its own; ask for the others in another call, of the network it names"
        )
    if a.image_size is not None:
        raise UserError(
            "--all chooses at the side of the run's views: leave --image-size out, and measure the network that it "
            "names at another size in another call"
        )
    kept = keep(a.run, a.data, a.network, a.linear, a.device, labels=a.labels, seed=a.seed)
    status = 0 if kept.written else 1
    if a.json:
        print_json(kept.content)
        return status
    print(f"features '{DEFAULT}', on held-out training images:   best features:")
    print("  network      step     kNN  linear          linear")
    for m in by_network(kept.entries):
        mark = "*" if kept.picked.entry in (m.default, m.best) else " "
        usual = f"{mark} {m.default.network:<8} {m.default.step:>8}  {m.default.knn:6.2f}  {m.default.linear:6.2f}"
        print(f"{usual}          {m.best.linear:6.2f}  {m.best.features}")
    where = f"; all {len(kept.entries)} candidates are in {kept.file}" if kept.written else ""
    print(f"{kept.sentence}\non {kept.row.data}{where}")
    return status


def _low_shot(a: Arguments) -> LowShot | None:
    if a.low_shot is None:
        return None
    try:
        shots = tuple(int(n) for n in a.low_shot.split(","))
    except ValueError as error:
        raise UserError(f"--low-shot takes numbers of images per class, such as 1,5,10; got '{a.low_shot}'") from error
    try:
        return LowShot(shots, LowShot.draws if a.draws is None else a.draws, a.seed)
    except ValueError as error:
        raise UserError(str(error)) from error


def _remarks(rows: list[Row], grid: Linear) -> list[str]:
    """What the numbers above need to be read, once for all of them."""
    said = []
    if any(row.draws for row in rows):
        said.append("±: standard deviation over n repetitions")
    if any(EDGE in row.score.protocol for row in rows):
        lrs, decays = (" ".join(f"{value:g}" for value in values) for values in (grid.lrs, grid.weight_decays))
        said.append(f"{EDGE}: beyond it may lie better; it was --linear.lrs {lrs} --linear.weight-decays {decays}")
    return said


def _line(row: Row) -> str:
    spread = "" if not row.draws else f" ± {'  -  ' if row.sd is None else f'{row.sd:5.2f}'} (n={len(row.draws)})"
    top5 = "" if row.score.top5 is None else f"  top-5 {row.score.top5:5.2f}"
    own = chosen(row.score.protocol)
    return f"  {row.network:<17}  top-1 {row.score.top1:5.2f}{spread}{top5}" + (f"  ({own})" if own else "")
