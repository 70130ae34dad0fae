"""A run fitted into time and disk, by what a trial says that it costs."""

import math
import re
from bisect import bisect
from dataclasses import replace
from pathlib import Path

import numpy as np

from resmom.called import called, either, setting
from resmom.config import ConfigError, Run
from resmom.data.files import FileSource
from resmom.data.source import Data
from resmom.errors import RunDirError
from resmom.recipes.words import named
from resmom.report.numbers import size
from resmom.runs.limits import free_disk
from resmom.runs.settling.memory import lighter
from resmom.runs.settling.trial import Trial
from resmom.schedule import every, times

LEAST_STEPS = 100
"""A run shorter than this learns nothing that is worth waiting for."""
MARGIN = 0.95
"""Share of a time budget that is planned for; the rest is for a machine that gets slower."""
MEASURING = 0.1
"""Share of a run's time that its measurements may take."""
TRYING, MINUTE = 0.05, 60.0
"""Share of a time budget that its trial takes, and the most seconds."""
TRAIN_LINE, MEASURED_LINES = 1_100, 1_400
"""Bytes in metrics.jsonl of a line of training, and of the lines of one measurement, as runs have had them."""
KEEPING = 0.1
"""Share of the disk's free bytes that checkpoints kept beside the last may take."""
DECODING = 0.2
"""Share of all cores' time in decoding from which it is worth packing the images first."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds_of(text: str) -> float:
    """`90s`, `45m`, `6h`, `1h30m`, `2d` in seconds. Raises ConfigError for anything else."""
    if not isinstance(text, str):  # from Python
        raise ConfigError(f"the time is {text!r}; write it as text: '90s', '45m', '6h', '1h30m' or '2d'")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise ConfigError(f"{_named()} is '{text}'; write it as 90s, 45m, 6h, 1h30m or 2d")
    if not text.strip():
        raise ConfigError(f"{_named()} is empty; write it as 90s, 45m, 6h, 1h30m or 2d")
    total = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if total <= 0:
        raise ConfigError(f"{_named()} is '{text}'; it must be more than nothing")
    return total


def _named() -> str:
    return either("the time (--time)", "the time")


def seconds_to_try(budget: float) -> float:
    """How long a run is tried that may take `budget` seconds."""
    return min(MINUTE, TRYING * budget)


def pack_side(run: Run, cost: Trial, data: Data) -> int:
    """The shorter side to which packing the images once would pay, 0 where it would not.

    Twice the view, so that a crop of a fifth of the area still has about the view's pixels; offered where decoding
    takes much of the machine and the images are twice as large again.
    """
    source = data.train
    if cost.decode_share < DECODING or not isinstance(source, FileSource):
        return 0
    side = 2 * max(view.size for view in run.policy.views)
    return side if float(np.median(source.sizes.min(axis=1))) >= 2 * side else 0


def fit_time(run: Run, cost: Trial, budget: float, measuring: float, least: int = LEAST_STEPS) -> int:
    """Steps that fit into `budget` seconds beside so many seconds of measuring. Raises ConfigError below `least`."""
    room = MARGIN * budget - cost.spent_seconds - 2 * cost.measure_seconds - measuring
    steps = int(room / cost.step_seconds)
    if steps < least:
        minutes = math.ceil(_budget_for(cost, budget, measuring, least) / 60)
        measured = cost.measure_seconds > 0  # a step alone may be too slow
        time = either("a time (--time)", "a time")
        *remedies, last = (
            f"{time} of {f'{minutes}m or more' if measured else f'more than {minutes}m'}",
            f"a smaller {called('train.batch')}",
            *lighter(run),
        )
        largest = " at their largest" if run.train.sizes else ""
        raise ConfigError(
            f"the time is too short: one step takes {cost.step_seconds:.2g} s here ({run.train.batch} images, views of "
            f"{run.policy.views[0].size} pixels{largest}, {named(run.backbone)})"
            + (f", a measurement {cost.measure_seconds:.2g} s" if measured else "")
            + f", so {max(steps, 0)} steps fit, and at least {least} are needed; give {', '.join(remedies)} or {last}"
            + (f". But {cost.crowd}: try that first" if cost.crowd else "")
        )
    return steps


def _budget_for(cost: Trial, budget: float, measuring: float, least: int) -> float:
    """A time in which `least` steps fit beside so much measuring, told by the trial for a `budget` that is too short.

    A longer time is tried for longer too: for a share of it, or for the most there is, whichever asks for less.
    """
    besides = cost.spent_seconds - seconds_to_try(budget) + 2 * cost.measure_seconds + measuring
    needed = besides + (least + 1) * cost.step_seconds  # a trial ends with a whole step
    return min(needed / (MARGIN - TRYING), (needed + MINUTE) / MARGIN)


def time_to_measure(cost: Trial, seconds: float, budget: float | None, least: int = LEAST_STEPS) -> float:
    """Seconds that the measurements of a run of so many seconds may take: `MEASURING` of these.

    Within a budget, no more than leaves time for `least` steps, and one more, which rounding takes.
    """
    if budget is None:
        return MEASURING * seconds
    besides = cost.spent_seconds + 2 * cost.measure_seconds + (least + 1) * cost.step_seconds
    return min(MEASURING * seconds, MARGIN * budget - besides)


def fit_measures(cost: Trial, seconds: float, most: int) -> int:
    """Measurements, each with all that belongs to it, that fit into so many seconds: at least 1, at most `most`."""
    return max(1, min(most, int(seconds / cost.measure_seconds)))


def fit_log(run: Run, cost: Trial, seconds: float, steps: int, per_epoch: int) -> Run:
    """The run, of so many steps, with longer intervals where its measurements would not fit into so many seconds.

    All grow alike; those of the end are made in any case.
    """
    if measuring_of(run, cost, steps, per_epoch) <= seconds:
        return run
    saves, knns = (every(epochs, per_epoch) for epochs in (run.log.save_epochs, run.log.knn_epochs))
    most = max(measures_of(run, steps, per_epoch), knns_of(run, steps, per_epoch))

    def measured(often: int) -> Run:
        wider = most / often / per_epoch
        return replace(run, log=replace(run.log, save_epochs=saves * wider, knn_epochs=knns * wider))

    more = range(2, most + 1)
    return measured(1 + bisect(more, seconds, key=lambda n: measuring_of(measured(n), cost, steps, per_epoch)))


def with_steps(run: Run, steps: int, per_epoch: int) -> Run:
    """The run with its length changed to `steps`; warm-up, and the intervals between measurements, in proportion."""
    before = run.train.steps or run.train.epochs * per_epoch
    warm = run.train.warmup_steps if run.train.steps else run.train.warmup_epochs * per_epoch
    share = steps / before
    train = replace(run.train, steps=steps, warmup_steps=min(steps - 1, round(warm * share)))
    log = replace(
        run.log,
        save_epochs=run.log.save_epochs * min(1.0, share),
        knn_epochs=run.log.knn_epochs * min(1.0, share),
        keep_epochs=run.log.keep_epochs * min(1.0, share),
    )
    return replace(run, train=train, log=log)


def fit_kept(cost: Trial, out: Path | None, most: int) -> int:
    """Checkpoints to keep beside the last: at most `most`, and no more than `KEEPING` of the disk of `out`, if any."""
    if out is None:
        return most
    return min(most, int(KEEPING * free_disk(out) / cost.checkpoint_bytes))


def kept_of(run: Run, steps: int, per_epoch: int) -> int:
    """How many checkpoints a run keeps under their own names."""
    interval = every(run.log.keep_epochs, per_epoch)
    return steps // interval if interval else 0


def measures_of(run: Run, steps: int, per_epoch: int) -> int:
    """How often a run measures health and saves, its end included and its start not."""
    return times(steps, every(run.log.save_epochs, per_epoch))


def knns_of(run: Run, steps: int, per_epoch: int) -> int:
    """How often a run measures kNN, its end included and its start not."""
    return times(steps, every(run.log.knn_epochs, per_epoch))


def measuring_of(run: Run, cost: Trial, steps: int, per_epoch: int) -> float:
    """Seconds that a run measures and saves: kNN, and health with saving, each at its own interval."""
    saves, knns = measures_of(run, steps, per_epoch), knns_of(run, steps, per_epoch)
    return saves * cost.health_seconds + knns * cost.knn_seconds


def disk_of(run: Run, cost: Trial, steps: int, per_epoch: int) -> int:
    """Bytes of the run folder at its end: the last checkpoint, the kept ones, backbones, lines of metrics.

    While a checkpoint is written, its draft lies beside it.
    """
    lines = steps // run.log.line_steps if run.log.line_steps else 0
    text = TRAIN_LINE * (lines + 2) + MEASURED_LINES * (measures_of(run, steps, per_epoch) + 1)
    return cost.checkpoint_bytes * (1 + kept_of(run, steps, per_epoch)) + cost.backbone_bytes + text


def require_disk(out: Path, needed: int) -> None:
    """Raise RunDirError if the disk of `out` has less than `needed` bytes free."""
    free = free_disk(out)
    if free < needed:
        raise RunDirError(
            f"{out} will need about {size(needed)}, and its disk has {size(free)} free; free "
            f"some, give another {called('out')}, or keep fewer checkpoints with {setting('log.keep_epochs', 0)}"
        )


def words_of_time(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
