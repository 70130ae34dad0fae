"""What a user asks of a run, and what is derived, as they want it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from resmom.build import Own
from resmom.config import Run, to_json
from resmom.data.order import steps_per_epoch
from resmom.methodconfig import MethodConfig, one_sided
from resmom.nets.backbones import BackboneConfig
from resmom.recipes.automatic import Automatic, Choice, automatic, choice_words, settled_by
from resmom.recipes.facts import Facts, Limits
from resmom.recipes.orientation import orientation_of
from resmom.recipes.side import with_views
from resmom.report.compare import differences, flat
from resmom.report.numbers import setting

Ask = Callable[[Run], Run]
"""What the user wants changed in a run that is offered."""

UNASKED = 2**31 - 1
"""A number of epochs that nobody asks for, by which to tell whether the user asked for one."""


@dataclass(frozen=True)
class Asked:
    """A run that is not complete yet: a recipe or nothing, the user's changes, and what it may cost."""

    base: Run | None = None
    """The run to start from; None derives one from the data and the machine."""
    change: Ask = lambda run: run
    """The user's own changes to whatever run is offered."""
    init: str = ""
    """File of weights to start from."""
    seconds: float | None = None
    """The time the whole run may take."""
    backbone: BackboneConfig | None = None
    """The backbone that a derived run shall have. Without weights a transformer's image and patch follow the views."""
    method: MethodConfig | None = None
    """The kind of method that a derived run shall have, as published; its settings follow network and images."""
    priced: bool = False
    """Estimate the cost of a recipe without a budget too, which is otherwise taken as it is."""


def base_of(asked: Asked) -> Run | None:
    """The recipe, with the weights it shall start from."""
    return replace(asked.base, init=asked.init) if asked.base is not None and asked.init else asked.base


def offered(facts: Facts, limits: Limits, ask: Ask) -> tuple[Automatic, Run]:
    """What is derived, and that as the user wants it.

    The user is asked twice: first for size and orientation of the views, batch, length and method, then, when what
    follows from them is derived, for the rest. The first answer counts for the views' size, batch and length, so that a
    change that is relative, twice the batch, is not made twice.
    """
    offer = automatic(facts, limits)
    derived = offer.run.train
    first = ask(question(offer))
    wish = first.train
    in_epochs = wish.steps == 0 or (wish.steps == derived.steps and wish.epochs != UNASKED)
    epochs = derived.epochs if wish.epochs == UNASKED else wish.epochs
    steps = epochs * steps_per_epoch(facts.images, wish.batch) if in_epochs else wish.steps
    view, own = _side(first), facts.own or type(first.method) is not type(offer.run.method)
    orientation = orientation_of(first.policy) or facts.orientation
    as_derived = (_side(offer.run), derived.batch, derived.steps, facts.own, facts.orientation)
    if (view, wish.batch, steps, own, orientation) == as_derived:
        return offer, _without_pairs(offer.run, ask(offer.run))
    batch = 0 if wish.batch == derived.batch else wish.batch
    view = 0 if view == _side(offer.run) else view
    steps = 0 if steps == derived.steps else steps
    facts = replace(facts, view=view, batch=batch, steps=steps, orientation=orientation, own=own)
    offer = automatic(facts, limits)
    run = _without_pairs(offer.run, ask(offer.run))
    train = replace(run.train, batch=wish.batch)
    most = offer.run.train  # of what was asked for and what fits the smaller
    if facts.steps and (train.steps or most.steps < facts.steps):
        warm = min(train.warmup_steps if train.steps else most.warmup_steps, most.steps - 1)
        train = replace(train, steps=most.steps, warmup_steps=warm)
    run = replace(run, train=train)
    return offer, replace(run, policy=with_views(run, view)) if view else run


def _without_pairs(offer: Run, run: Run) -> Run:
    """Where the term that was derived is not wanted, without the same-view pairs that were derived for it alone: they
    take one more pass of the teacher."""
    left_out = offer.residual.weight > 0 and run.residual.weight == 0 and run.method == offer.method
    apart = one_sided(run.method) if left_out else None
    return run if apart is None else replace(run, method=replace(apart, same_view=False))


def question(offer: Automatic) -> Run:
    """What is derived, as the user is asked of it first: without its warm-up, which may be longer than the run that the
    user wants, and with a number of epochs by which it shows whether they ask for one."""
    return replace(offer.run, train=replace(offer.run.train, warmup_steps=0, epochs=UNASKED))


def _side(run: Run) -> int:
    """The side of the views that are no local ones; 0 where they have several, which `check` judges."""
    sides = {view.size for view in run.policy.views[: run.method.traits.views]}
    return sides.pop() if len(sides) == 1 else 0


def asks_for_length(base: Run, ask: Ask) -> bool:
    """Whether the user set the length of the run that was offered, told by one that nobody would ask for."""
    probe = replace(base.train, warmup_steps=0, epochs=UNASKED, steps=UNASKED if base.train.steps else 0)
    wish = ask(replace(base, train=probe)).train
    return (wish.epochs, wish.steps) != (probe.epochs, probe.steps)


def told_choices(offer: Automatic, run: Run, own: Own) -> tuple[Choice, ...]:
    """The choices as they came out, then every option that the user set to something else, with what was derived.

    A part of which the user set something is told as it is then, with what was asked for as its reason. How often is
    measured and saved, and the seed, are not listed: they are no settings of the training.
    """
    module = own.backbone is not None
    given = {"backbone": module, "init": module and not run.init, "method": own.method is not None}
    derived, asked = flat(to_json(offer.run)), flat(to_json(run))
    changed = [name for name in differences([derived, asked]) if name in asked]
    told, whole = [], []
    for choice in offer.choices:
        option, words = choice.option, choice_words(choice.option, run)
        changes = [f"{name} {setting(asked[name])}" for name in changed if name.startswith(settled_by(option))]
        if given.get(option, False):
            told.append(Choice(option, "your own", "given from Python"))
            whole.append(option)
        elif option in given and type(choice.part(offer.run)) is not type(choice.part(run)):
            told.append(Choice(option, words, f"asked for; derived: {choice.value}"))
            whole.append(option)
        elif changes and option not in changed:
            told.append(Choice(option, words, f"with {_listed(changes)} as asked for"))
        elif choice.part(offer.run) == choice.part(run):
            told.append(choice)
    told += [
        Choice(name, setting(asked[name]), f"asked for; derived: {setting(derived.get(name))}")
        for name in changed
        if name.split(".")[0] not in whole
    ]
    return tuple(told)


def _listed(words: Sequence[str], most: int = 3) -> str:
    """The first of some words, and how many more there are."""
    rest = len(words) - most
    *first, last = words if rest <= 0 else (*words[:most], f"{rest} more")
    return f"{', '.join(first)} and {last}" if first else last
