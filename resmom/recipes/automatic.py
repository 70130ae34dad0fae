"""Settings derived from the data and the machine, each with its reason: what `resmom pretrain` runs without a recipe.

The table of the rules stands in docs/automatic.md, the measurements behind them in docs/results/settings.md;
`benchmarks/settings.py` repeats these. The rules are in `shape` (what the networks are and see), `pace` (how the run
goes), `teaching` (method, teacher and term) and `suited` (another method than the derived one). Change one there, and
in the table, together.
"""

from dataclasses import dataclass

from resmom.config import ConfigError, Run
from resmom.data.order import steps_per_epoch
from resmom.evaluate.online import Online
from resmom.methodconfig import site_for, with_pairs
from resmom.recipes import AUTOMATIC
from resmom.recipes.facts import Facts, Limits
from resmom.recipes.orientation import orientation_of, with_orientation
from resmom.recipes.pace import batch_for, log_for, optim_of, precision_for, steps_for, warmup
from resmom.recipes.shape import backbone_for, normalisation_for, orientation_words, side_of, start_words, view_for
from resmom.recipes.suited import suited, views_for
from resmom.recipes.teaching import ema_for, helped, measured, term_for
from resmom.recipes.words import OPTIMISERS, method_words, named, numbers, passes
from resmom.train.plan import Train
from resmom.views.policy import Policy

LEAST_IMAGES = 64
"""Fewer images make no batch with enough negatives."""
LEAST_SIDE = 16
"""Pixels of the shorter side below which crops show nothing."""


@dataclass(frozen=True)
class Choice:
    """One derived setting: the option or part of the run it is, its value in words, and why.

    `image_size` is the option `--image-size`, the side of all views that are no local ones, `orientation` the option
    `--orientation`, by which all views are flipped and turned.
    """

    option: str
    value: str
    reason: str

    def part(self, run: Run) -> object:
        """That part of a run, to see whether it was kept."""
        if self.option == "orientation":
            return orientation_of(run.policy)
        value: object = run
        option = "policy.views.0.size" if self.option == "image_size" else self.option
        for name in option.split("."):
            value = value[int(name)] if isinstance(value, tuple) else getattr(value, name)
        return value


def settled_by(option: str) -> tuple[str, ...]:
    """The beginnings of the options that a choice tells together, where it tells more than one."""
    match option:
        case "method" | "backbone" | "policy.views":
            return (f"{option}.",)
        case "policy.mean":
            return ("policy.std",)
        case _:
            return ()


def choice_words(option: str, run: Run) -> str:
    """What a run has there in the words of such a choice; empty for any other."""
    match option:
        case "method":
            return method_words(run.method)
        case "backbone":
            return named(run.backbone)
        case "policy.views":
            return f"crops from {run.policy.views[0].scale[0]:g} of the area"
        case "policy.mean":
            return f"{numbers(run.policy.mean)}, std {numbers(run.policy.std)}"
        case _:
            return ""


@dataclass(frozen=True)
class Automatic:
    """The derived run and the reasons for its settings."""

    run: Run
    choices: tuple[Choice, ...]


def automatic(facts: Facts, limits: Limits | None = None) -> Automatic:
    """Derive a whole run, within limits if a trial found some.

    Raises ConfigError, with the rule, for data that no run can be made for.
    """
    if facts.images < LEAST_IMAGES:
        raise ConfigError(
            f"{facts.images} images are too few: a run without a recipe needs at least {LEAST_IMAGES}, whatever the "
            "method; add images, or use an encoder trained on other ones as it is"
        )
    if facts.side < LEAST_SIDE:
        raise ConfigError(
            f"half of the images have a side below {facts.side + 1} pixels; at least {LEAST_SIDE} are needed"
        )
    limits = limits or Limits()
    choices: list[Choice] = []

    def chosen(option: str, value: object, reason: str) -> None:
        choices.append(Choice(option, str(value), reason))

    side, why = side_of(facts)
    chosen("image_size", side, why)
    backbone, why = backbone_for(facts, side)
    chosen("backbone", named(backbone), why)
    chosen("init", *start_words(facts))
    batch, batch_why = batch_for(facts, limits)
    steps, steps_why = steps_for(facts, limits, batch)
    over = steps / steps_per_epoch(facts.images, batch)
    known = not facts.own and measured(facts.method, backbone, facts.init)
    method, why = suited(facts.method, backbone, facts.images, batch, over, known)
    drawn = not facts.own and helped(method, backbone, facts.init)
    if drawn:
        method = with_pairs(method)
    chosen("method", method_words(method), why)
    chosen("train.batch", batch, batch_why)
    chosen("train.steps", f"{steps} ({passes(over)})", steps_why)
    optim, why = optim_of(facts, backbone, method)
    chosen("optim.lr", f"{optim.lr:g} per 256 images ({OPTIMISERS[type(optim).__name__]})", why)
    ema, why = ema_for(known, steps)
    if method.traits.teacher:
        chosen("ema.momentum", f"{ema.momentum:.5g} rising to 1", why)
    view, why = view_for(facts, side)
    chosen("policy.views", f"crops from {view.scale[0]:g} of the area", why)
    chosen("orientation", facts.orientation, orientation_words(facts))
    mean, std, why = normalisation_for(facts)
    chosen("policy.mean", f"{numbers(mean)}, std {numbers(std)}", why)
    precision, why = precision_for(facts)
    chosen("train.precision", precision, why)
    term, why = term_for(method, drawn, site_for(method))
    if method.traits.teacher:
        chosen("residual.weight", f"{term.weight:g}", why)
    run = Run(
        recipe=AUTOMATIC,
        init=facts.init,
        method=method,
        residual=term,
        backbone=backbone,
        policy=Policy(views_for(method, view), mean, std),
        optim=optim,
        ema=ema,
        train=Train(steps=steps, batch=batch, warmup_steps=warmup(steps), precision=precision),
        online=Online(lr=0.3),
        log=log_for(steps, steps_per_epoch(facts.images, batch), limits),
    )
    return Automatic(with_orientation(run, facts.orientation), tuple(choices))
