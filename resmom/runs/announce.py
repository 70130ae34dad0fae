"""What a run of pretraining says of itself, in whole: its settings, what it is, and what came of it."""

from pathlib import Path

from resmom import dist
from resmom.called import called, either, setting
from resmom.config import Run
from resmom.data.labelwords import labels_lines
from resmom.data.open import taken_apart
from resmom.data.packed import is_pack
from resmom.data.source import Data
from resmom.export.record import newest
from resmom.jsonfiles import read_lines
from resmom.methodnames import method_name
from resmom.nets.backbones import unseen_of, whole_sides
from resmom.nets.norms import normed
from resmom.norun import PUBLISHED
from resmom.recipes import is_derived, method_of
from resmom.recipes.orientation import orientation_of
from resmom.rundir import RunDir
from resmom.runs.clean import NOT_DIVISIBLE, labelled_part, labelled_split
from resmom.runs.exporting.export import Exported
from resmom.runs.initial.recognise import origin_words
from resmom.runs.outcome import before_after, gain, table
from resmom.runs.own import names, title_words
from resmom.runs.settling.facts import emulates_bf16
from resmom.runs.settling.settle import Settled
from resmom.runs.training.growth import policies
from resmom.runs.training.job import Job
from resmom.runs.training.queue import stale_keys
from resmom.train.state import networks_of


def settings_words(settled: Settled, spec: str) -> str:
    """The settings with their reasons, where any were derived, and the estimate."""
    lines = []
    if settled.choices:
        lines.append("settings derived from the images and this machine; give an option to change one:")
        left = max(len(choice.option) for choice in settled.choices)
        middle = max(len(choice.value) for choice in settled.choices)
        lines += [f"  {c.option:<{left}}  {c.value:<{middle}}  {c.reason}" for c in settled.choices]
    if settled.estimate:
        lines.append(f"estimate: {settled.estimate.words}")
        if settled.estimate.crowd:
            lines.append(f"attention: {settled.estimate.crowd}; stop here and add that, if they go on")
    if settled.pack_side:
        lines.append(_reducing(spec, settled.pack_side))
    return "\n".join(lines)


def _reducing(spec: str, side: int) -> str:
    """How to spare the machine the decoding of large images."""
    place, _ = taken_apart(spec)
    smaller = f"  {setting('data', f'{place}@shorter-side={side}')}\nto have JPEGs decoded smaller, or\n"
    if is_pack(Path(place)):
        smaller = ""
    return (
        f"much of this machine's time goes into decoding large images; stop here and use\n{smaller}"
        f"  resmom data pack {place} --out {place}.pack --side {side}\n"
        f"to reduce all images once, and then {setting('data', f'{place}.pack')} (views are then cut from reduced "
        "images)"
    )


def summary(job: Job, folder: RunDir | None, written: bool = True) -> str:
    """What is about to be trained, on what, into which folder, and what somebody should know before.

    `folder`: None where nobody has named one. `written`: it is, or will be; else nothing lies in that folder.
    """
    run, train_images, given = job.run, job.data.train, {"own": names(job.own)}
    lines = [
        f"{title_words(given, run)}: {len(train_images)} images ({job.data.origin}), {job.steps} steps of batch "
        f"{run.train.batch} ({job.steps / job.per_epoch:.4g} epochs), {run.train.precision} on {job.device}"
        f"{_shared_words(job)}",
        f"teacher: {_teacher_words(job)}",
        f"residual momentum: {_residual_words(run)}",
    ]
    if folder is not None:
        lines.append(f"into {folder.path}" + (f", from step {job.state.step}" if job.state.step else ""))
    lines += labels_lines(job.data)
    if (other := method_of(run)) is not None and job.own.method is None:
        lines.append(
            f"method: {method_name(run.method)} in place of the recipe's {other}, with heads and settings of its own "
            f"({called('method.NAME')} sets them)"
        )
    derived = is_derived(run)  # by the length, of a few steps no warm-up
    if run.train.steps and run.train.warmup_epochs and not run.train.warmup_steps and not derived:
        lines.append(
            f"no warm-up: the recipe's, {run.train.warmup_epochs:g} epochs, is for a length in epochs, and this one "
            f"counts in steps; {either('--train.warmup-steps N', 'train.warmup_steps')} gives one"
        )
    if (unseen := None if job.own.backbone else unseen_of(run.backbone)) is not None:
        rest, patch = unseen
        near = whole_sides(run.policy.views[0].size, patch)
        whole = either(f"--image-size {near}", f"sides of {near} (with_side of resmom.recipes.side)")
        lines.append(
            f"the network does not see the last {rest} pixels of each side of a view, which make no whole patch of "
            f"{patch}; {whole} have whole ones"
        )
    if run.train.sizes:
        sides = (policy.views[0].size for policy in policies(run, job.multiple))
        lines.append(f"views grow: {', '.join(map(str, sides))} pixels, each for an equal part of the steps")
    if orientation_of(run.policy) == "any" and not derived:
        lines.append("views in any orientation: turned by quarter turns, and flipped top to bottom as left to right")
    if job.taken is not None:
        lines.append(f"starts from {job.taken.words}{_rate_words(run)}")
        if run.init.startswith(PUBLISHED):  # with their licence
            lines.append(origin_words(run.init))
    if run.train.precision == "bf16" and emulates_bf16(job.device):
        lines.append(
            "this processor emulates bf16, which takes several times as long as fp32; stop here and add "
            f"{setting('train.precision', 'fp32')}, unless this run shall be compared with others in bf16"
        )
    if stale := stale_keys(run, job.data):
        lines.append(stale)
    if labelled_part(train_images) is not None and labelled_split(job.data) is None:
        lines.append(f"labels: {NOT_DIVISIBLE}, so nothing is measured by them while it trains")
    if unasked(job.data):
        lines.append(
            "the labelled test images are not used: they are compared with labelled training images, and those here "
            "have no labels (in Python a pair, or a Dataset with `targets` or `labels`, has them)"
        )
    if job.data.not_read:  # what lies outside of the splits is told with their origin
        lines.append(f"passed over: {job.data.not_read}")
    if train_images.unreadable:
        where = f"reasons in {folder.unreadable}" if folder is not None and written else "`resmom data check` tells why"
        lines.append(f"{len(train_images.unreadable)} files could not be read and are left out; {where}")
    return "\n".join(lines)


def unasked(data: Data) -> bool:
    """Whether there are labelled test images, but no labelled training images that could answer."""
    tests = data.test is not None and labelled_part(data.test) is not None
    return tests and labelled_part(data.train) is None


def _rate_words(run: Run) -> str:
    """Recipes have the learning rate for random weights, derived runs a tenth of that already."""
    if is_derived(run):
        return ""
    return (
        f"\nthe learning rate, {run.optim.lr:g}, is what you or the recipe set; trained weights usually want a "
        f"tenth of what random ones do ({called('optim.lr')})"
    )


def _shared_words(job: Job) -> str:
    if dist.world() == 1:
        return ""
    has = normed(networks_of(job.state.method)["student"].state_dict()).anywhere
    apart = "; BatchNorm is of each one's images, not of all" if has and job.device.type == "cpu" else ""
    return f" in {dist.world()} processes of {job.run.train.batch // dist.world()} images each{apart}"


def _teacher_words(job: Job) -> str:
    teacher = networks_of(job.state.method).get("teacher")
    if teacher is None:
        return "none, this method trains the student alone"
    ema = job.run.ema
    way = "" if ema.schedule == "constant" or ema.final == ema.momentum else f" to {ema.final:g} ({ema.schedule})"
    what = (
        "a moving average of the student" if ema.part == "all" else "the student's backbone, the rest a moving average"
    )
    where = normed(teacher.state_dict())
    whose = "" if where.backbone else " (its projector's: the backbone has none)"
    statistics = f", BatchNorm statistics {ema.batch_norm}{whose}" if where.anywhere else ""
    return f"{what}, momentum {ema.momentum:g}{way}{statistics}"


def _residual_words(run: Run) -> str:
    r = run.residual
    if r.weight == 0:
        return "off"
    return f"weight {r.weight:g} ({r.schedule}), {r.distance} at site {r.site}, {r.pairing} view"


def ending(folder: RunDir, exported: Exported) -> str:
    """What the run made of its network, and where the files for other tools are."""
    lines = read_lines(folder.metrics)
    images = newest(lines, "health").get("images")
    chance = f"; by chance {100 / images:.2g} % find their own other view" if images else ""
    changes = before_after(lines)
    learned = f"{words}\n" if (words := gain(changes)) else ""
    return (
        f"before against after:\n{table(changes)}\n{learned}"
        f"(higher is better for kNN, own other view found and RankMe; the others only tell a collapse{chance})\n"
        f"backbones in {exported.folder}" + (f"\n{exported.advice}" if exported.advice else "")
    )
