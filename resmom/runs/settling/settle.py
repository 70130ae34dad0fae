"""From what was asked to a complete run: derived settings, fitted to memory and time, with an estimate of the cost."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resmom import dist
from resmom.build import Own
from resmom.config import Run
from resmom.configcheck import check, check_term
from resmom.data.order import steps_per_epoch
from resmom.data.source import Data
from resmom.recipes.automatic import LEAST_IMAGES, Choice, automatic
from resmom.recipes.facts import KEPT, Facts, Limits
from resmom.recipes.pace import MEASURES
from resmom.runs.initial.recognise import recognise
from resmom.runs.options import differing
from resmom.runs.settling.budget import (
    LEAST_STEPS,
    fit_kept,
    fit_log,
    fit_measures,
    fit_time,
    measuring_of,
    pack_side,
    seconds_to_try,
    time_to_measure,
    with_steps,
)
from resmom.runs.settling.estimate import Estimate, estimate, held
from resmom.runs.settling.facts import gather
from resmom.runs.settling.memory import fit_batch, share_of
from resmom.runs.settling.offer import Asked, asks_for_length, base_of, offered, question, told_choices
from resmom.runs.settling.trial import Trial, trial
from resmom.runs.training.job import require_batch
from resmom.runs.underway import Underway
from resmom.train.plan import length

GLANCE = 3.0
"""Seconds of trial where no time budget was given."""


@dataclass(frozen=True)
class Settled:
    """A run ready to start, its settings with their reasons where any were derived, and its cost where it was tried."""

    run: Run
    choices: tuple[Choice, ...]
    estimate: Estimate | None = None
    pack_side: int = 0
    """Where decoding dominates: the shorter side to which the images should be packed before."""
    offered: Run | None = None
    """Of a derived run: what was derived before anything was asked for."""


def settle(
    asked: Asked,
    data: Data,
    out: Path | None,
    device: torch.device,
    workers: int,
    own: Own,
    work: Underway | None = None,
) -> Settled:
    """Complete a run: the one that was asked for, or where there is none one derived from data and machine.

    Derived runs and those with a budget of time are tried for some seconds first; a recipe without a budget is taken as
    it is, unless its cost is asked for. `out`: the folder of the run, which its disk must have room for; None leaves
    that out. `work` is told of a trial, and what is being done in it. Raises ConfigError, DataError or RunDirError with
    the rule that cannot be kept.
    """
    base, ask, budget = base_of(asked), asked.change, asked.seconds
    seconds = GLANCE if budget is None else seconds_to_try(budget)
    work = Underway(quiet=True) if work is None else work
    often = "" if device.type == "cuda" else " (one at least)"
    trying = (
        f"trying the run on this machine, {seconds:.2g} seconds of steps{often}, and what loading and measuring take"
    )
    if base is not None:
        run = ask(base)
        _check(run, base, own)
        require_batch(run, data)
        if budget is None and not asked.priced:
            return Settled(run, ())
        work.say(trying)
        slowest = _slowest(run, data, budget)
        cost = _tried(run, data, device, workers, own, seconds, slowest, work)
        _require_pace(run, cost, data, budget)
        if budget is None:
            return Settled(run, (), estimate(run, cost, data, out), pack_side(run, cost, data))
        run, told = _in_parts(run, cost, device)
        fitted, cut = _within(run, cost, budget, len(data.train), asks_for_length(base, ask))
        return Settled(fitted, told, estimate(fitted, cost, data, out, cut), pack_side(fitted, cost, data))
    facts = _facts(asked, data, device, own)
    offer, run = offered(facts, Limits(), ask)
    _check(run, offer.run, own)
    require_batch(run, data)
    work.say(trying)
    slowest = _slowest(run, data, budget)
    cost = _tried(run, data, device, workers, own, seconds, slowest, work)
    fits, limits = fit_batch(run, cost.kept, cost.weight_bytes, device), Limits()
    if fits < held(run):
        limits = Limits(batch=fits * dist.world())
        _, run = offered(facts, limits, ask)
        # The user's own batch, or the least: the graph is cut. docs/path-of-a-batch.md tells what that changes.
        if cost.in_parts and share_of(run.train.batch) > fits:
            run = replace(run, train=replace(run.train, micro_batch=fits))
        cost = _tried(run, data, device, workers, own, seconds, slowest, work)
    _require_pace(run, cost, data, budget)
    micro = run.train.micro_batch
    per_epoch = steps_per_epoch(len(data.train), run.train.batch)
    planned = length(run.train, per_epoch)
    whole, least = planned * cost.step_seconds, min(LEAST_STEPS, planned)
    if budget is not None:  # which sets the length, unless a shorter one was asked for
        whole = min(budget, whole) if asks_for_length(offer.run, ask) else budget
    measures = fit_measures(cost, time_to_measure(cost, whole, budget, least), MEASURES)
    limits = replace(limits, measures=measures, kept=dist.agreed(fit_kept(cost, out, KEPT)))
    if budget is not None:
        _, run = offered(facts, limits, ask)
        steps = fit_time(run, cost, budget, measuring_of(run, cost, planned, per_epoch), least)
        limits = replace(limits, steps=steps)
    offer, run = offered(facts, limits, ask)
    told = told_choices(offer, run, own)
    if micro and not run.train.micro_batch:
        told += (_parts(micro),)
        run = replace(run, train=replace(run.train, micro_batch=micro))
    check(run, own.method is not None)
    first = question(automatic(facts, Limits()))
    return Settled(run, told, estimate(run, cost, data, out), pack_side(run, cost, data), first)


def _tried(
    run: Run, data: Data, device: torch.device, workers: int, own: Own, seconds: float, slowest: float, work: Underway
) -> Trial:
    """As `trial`. Raises KeyboardInterrupt with what was being done."""
    try:
        return trial(run, data, device, workers, own, seconds, slowest, work)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f"interrupted while {work.words}; nothing of the run is written") from stop


def untried(asked: Asked, data: Data, device: torch.device, own: Own) -> Run:
    """The run with the views that it would have. Batch, length and measurements, which rest on a trial, may change.

    So may they where there are too few images to train on: no view depends on their number.
    """
    base = base_of(asked)
    if base is not None:
        run = asked.change(base)
        _check(run, base, own)
    else:
        facts = _facts(asked, data, device, own)
        enough = replace(facts, images=max(facts.images, LEAST_IMAGES))
        offer, run = offered(enough, Limits(), asked.change)
        _check(run, offer.run, own)
    return run


def _check(run: Run, unchanged: Run, own: Own) -> None:
    """Raise ConfigError for a run that cannot train, or whose residual term was set to what it can never be.

    `unchanged`: what the user was offered, whose own settings are not asked for. Of a method of the user's own nothing
    is known here.
    """
    check(run, own.method is not None)
    if own.method is None:
        check_term(run, differing(unchanged, run))


def _facts(asked: Asked, data: Data, device: torch.device, own: Own) -> Facts:
    """What a run without a recipe is derived from."""
    backbone = asked.backbone
    if backbone is None and asked.init and own.backbone is None:
        backbone = recognise(asked.init)
    seen = dist.agreed(gather(data, device, asked.init, backbone))
    method = asked.method or seen.method
    brought = own.backbone is not None or own.method is not None
    return replace(seen, own=brought, method=method, processes=dist.world())


def require_sound(asked: Asked, own: Own) -> None:
    """Raise ConfigError for a recipe that cannot train as it was asked for. What is derived can be judged only when it
    is: by `settle`."""
    base = base_of(asked)
    if base is not None:
        _check(asked.change(base), base, own)


def _slowest(run: Run, data: Data, budget: float | None) -> float:
    """Seconds of a step from which so few fit into a budget that the run is refused, whatever measuring it takes."""
    if budget is None:
        return math.inf
    return budget / _least(run, data)


def _require_pace(run: Run, cost: Trial, data: Data, budget: float | None) -> None:
    """Raise ConfigError where a step takes longer than `_slowest`, for which the trial measured nothing more."""
    if budget is not None and not cost.measure_seconds:
        fit_time(run, cost, budget, 0.0, _least(run, data))


def _least(run: Run, data: Data) -> int:
    """The fewest steps that a time must have room for: all of a run that is shorter than `LEAST_STEPS`."""
    return max(1, min(LEAST_STEPS, length(run.train, steps_per_epoch(len(data.train), run.train.batch))))


def _in_parts(run: Run, cost: Trial, device: torch.device) -> tuple[Run, tuple[Choice, ...]]:
    """The run as it was tried: with the graph cut into parts where memory would not hold that of its whole batch."""
    if not cost.in_parts:
        return run, ()
    fits = fit_batch(run, cost.kept, cost.weight_bytes, device)
    if fits >= held(run):
        return run, ()
    return replace(run, train=replace(run.train, micro_batch=fits)), (_parts(fits),)


def _parts(images: int) -> Choice:
    return Choice("train.micro_batch", str(images), "as many images as the memory holds at once")


def _within(run: Run, cost: Trial, budget: float, images: int, asked: bool) -> tuple[Run, str]:
    """The run with the length that fits into the budget, and fewer measurements where they would take much of it.

    A length that the user asked for is not exceeded. Also the end of a sentence where the run became shorter.
    """
    per_epoch = steps_per_epoch(images, run.train.batch)
    whole = length(run.train, per_epoch)
    # In a run that becomes shorter the intervals shrink, in one that becomes longer they are as they were.
    longest = whole if asked else max(whole, int(budget / cost.step_seconds))
    least = min(LEAST_STEPS, whole) if asked else LEAST_STEPS
    seconds = min(budget, whole * cost.step_seconds) if asked else budget
    run = fit_log(run, cost, time_to_measure(cost, seconds, budget, least), longest, per_epoch)
    steps = fit_time(run, cost, budget, measuring_of(run, cost, longest, per_epoch), least)
    if asked and whole <= steps:
        return run, ""
    cut = f"; {steps} steps fit into the time, of {whole} that were {'asked for' if asked else 'planned'}"
    return with_steps(run, steps, per_epoch), cut if steps < whole else ""
