"""What is tried in place of what is derived: every setting as a function from the facts to a run.

What changes the work that an image takes (backbone, view size) is compared at equal work, "for its work": as many
images seen as make the same number of operations of the encoder, which is what a time on one machine comes down to.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from resmom.config import Log, Run
from resmom.methodconfig import METHODS, one_sided, site_for
from resmom.methodnames import method_name
from resmom.methods.byol import Byol
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import ResNet, SmallResNet, build_backbone
from resmom.nets.teacher import Ema
from resmom.recipes import with_residual
from resmom.recipes.automatic import automatic
from resmom.recipes.facts import Facts
from resmom.recipes.pace import warmup
from resmom.recipes.teaching import ema_by_length, momentum_of
from resmom.runs.training.growth import policies
from resmom.train.optim import AdamW
from resmom.views.policy import IMAGENET

BASE = SmallResNet((32, 64, 128, 256))
"""Of the base, and of all settings but those of the backbone: twice the width that is derived since it was measured."""

Setting = Callable[[Facts], Run]
"""From the facts, with the number of steps asked for, to the run of a cell."""
Change = Callable[[Run], Run]


def derived(facts: Facts) -> Run:
    """The run that was derived from the facts when most of this was measured, without measurements on its way.

    What is derived now, for a small ResNet from random weights, is "temperature .1, momentum from .9, no predictor,
    residual term at z, weight 1".
    """
    log = Log(line_steps=50, save_epochs=0, knn_epochs=0)
    return replace(automatic(replace(facts, own=True)).run, log=log)


def but(change: Change) -> Setting:
    """The derived run, changed."""
    return further(derived, change)


def seeded(setting: Setting, seed: int) -> Setting:
    """The run of a setting with another seed."""

    def with_seed(facts: Facts) -> Run:
        run = setting(facts)
        return replace(run, train=replace(run.train, seed=seed))

    return with_seed


def as_derived(method: str) -> Setting:
    """What is derived with the narrow network for a method that is named: heads, queue, optimiser and views follow it.

    MoCo-v3 is the derived method, with what was measured of it. For a method that hides patches it is a
    transformer.
    """

    def setting(facts: Facts) -> Run:
        backbone = None if METHODS[method].traits.patches else SmallResNet((16, 32, 64, 128))
        log = Log(line_steps=50, save_epochs=0, knn_epochs=0)
        return replace(automatic(replace(facts, backbone=backbone, method=METHODS[method]())).run, log=log)

    return setting


def for_its_work(sizes: tuple[float, ...] = (), **given: object) -> Setting:
    """The run derived with something given, as long as makes as many operations of the encoder as the base.

    `sizes` has its views grow (train.sizes).
    """

    def grown(facts: Facts) -> Run:
        run = derived(facts)
        return replace(run, train=replace(run.train, sizes=sizes))

    def setting(facts: Facts) -> Run:
        changed = replace(facts, **given)  # type: ignore[arg-type]
        share = operations(derived(facts)) / operations(grown(changed))
        return grown(replace(changed, steps=max(1, round(facts.steps * share))))

    return setting


def further(setting: Setting, change: Change) -> Setting:
    """The run of a setting, changed."""
    return lambda facts: change(setting(facts))


def operations(run: Run) -> float:
    """FLOP of the encoder for the first view of one image, forward; the mean over the run where its views grow."""
    network = build_backbone(run.backbone).eval()
    sizes = policies(run, 1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for policy in sizes:
            network(torch.zeros(1, len(policy.mean), policy.views[0].size, policy.views[0].size))
    return float(counter.get_total_flops()) / len(sizes)


def _steps(run: Run, steps: int) -> Run:
    train = replace(run.train, steps=steps, warmup_steps=warmup(steps))
    return replace(run, train=train)


def _batch(run: Run, batch: int) -> Run:
    """Another batch for the same number of images seen."""
    run = _steps(run, run.train.steps * run.train.batch // batch)
    return replace(run, train=replace(run.train, batch=batch))


def _rate(run: Run, factor: float) -> Run:
    return replace(run, optim=replace(run.optim, lr=run.optim.lr * factor))


def _lowered(part: int) -> Change:
    return lambda run: _rate(run, 1 / part)


def _crops(run: Run, smallest: float) -> Run:
    views = tuple(replace(view, scale=(smallest, 1.0)) for view in run.policy.views)
    return replace(run, policy=replace(run.policy, views=views))


def _mocov3(run: Run) -> MoCoV3:
    assert isinstance(run.method, MoCoV3)
    return run.method


def _normalisation(run: Run, mean: tuple[float, ...], std: tuple[float, ...]) -> Run:
    return replace(run, policy=replace(run.policy, mean=mean, std=std))


def _life(run: Run, share: float) -> Run:
    return replace(run, ema=Ema(momentum_of(run.train.steps * share), 1.0))


def _tuned(run: Run) -> Run:
    """As MoCo-v3 was tuned on the small encoder (docs/results/questions.md)."""
    return replace(run, method=replace(_mocov3(run), temperature=0.1), ema=Ema(0.9, 1.0))


def _untuned(run: Run) -> Run:
    """As it was derived before MoCo-v3 was tuned."""
    return replace(run, method=replace(_mocov3(run), temperature=0.2), ema=ema_by_length(run.train.steps)[0])


def _no_term(run: Run) -> Run:
    """Without the term, and without the pairs that it alone needs."""
    apart = one_sided(run.method)
    run = run if apart is None else replace(run, method=replace(apart, same_view=False))
    return replace(run, residual=replace(run.residual, weight=0.0))


def _predictor(run: Run, layers: int) -> Run:
    """With a predictor of so many layers, and the term behind it; at z, the only place that is left, without one."""
    method = replace(_mocov3(run), predictor_layers=layers)
    return replace(run, method=method, residual=replace(run.residual, site=site_for(method)))


def _with_predictor(run: Run) -> Run:
    """As it was derived before."""
    return _predictor(run, 2)


def _no_predictor(run: Run) -> Run:
    return _predictor(run, 0)


def _term(run: Run) -> Run:
    return replace(run, residual=replace(run.residual, weight=2.0))


def _tuned_term(run: Run) -> Run:
    return _term(_tuned(run))


def _tuned_falling(run: Run) -> Run:
    """With a weight that falls to 0 over the run."""
    run = _tuned_term(run)
    return replace(run, residual=replace(run.residual, schedule="fall"))


def _heads(run: Run, hidden: int, out: int) -> Run:
    return replace(run, method=replace(_mocov3(run), hidden=hidden, out=out))


def _projector(run: Run, layers: int) -> Run:
    return replace(run, method=replace(_mocov3(run), projector_layers=layers))


def _temperature(run: Run, temperature: float) -> Run:
    return replace(run, method=replace(_mocov3(run), temperature=temperature))


def _jitter(run: Run, share: float) -> Run:
    """So much of the strength of the colour jitter."""
    views = tuple(
        replace(
            view,
            brightness=share * view.brightness,
            contrast=share * view.contrast,
            saturation=share * view.saturation,
            hue=share * view.hue,
        )
        for view in run.policy.views
    )
    return replace(run, policy=replace(run.policy, views=views))


def _decay(run: Run, factor: float) -> Run:
    return replace(run, optim=replace(run.optim, weight_decay=factor * run.optim.weight_decay))


def _warm(run: Run, share: float) -> Run:
    return replace(run, train=replace(run.train, warmup_steps=round(share * run.train.steps)))


def _widths(run: Run, *widths: int, blocks: int = 1) -> Run:
    """Another network with the same heads, for as many steps: the work differs, and stands in the column of times."""
    return replace(run, backbone=SmallResNet(widths, blocks))


def _weight(run: Run, weight: float) -> Run:
    return replace(run, residual=replace(run.residual, weight=weight))


ONCE_MORE: dict[str, Change] = {
    "learning rate x 2": lambda run: _rate(run, 2.0),
    "learning rate / 2": lambda run: _rate(run, 0.5),
    "batch 64": lambda run: _batch(run, 64),
    "batch 256": lambda run: _batch(run, 256),
    "AdamW .002": lambda run: replace(run, optim=AdamW(lr=2e-3, weight_decay=0.05)),
    "temperature .07": lambda run: _temperature(run, 0.07),
    "temperature .15": lambda run: _temperature(run, 0.15),
    "crops from .08": lambda run: _crops(run, 0.08),
    "crops from .4": lambda run: _crops(run, 0.4),
    "half the jitter": lambda run: _jitter(run, 0.5),
    "heads 256/128": lambda run: _heads(run, 256, 128),
    "heads 1024/128": lambda run: _heads(run, 1024, 128),
    "heads 512/64": lambda run: _heads(run, 512, 64),
    "heads 512/256": lambda run: _heads(run, 512, 256),
    "projector of one layer": lambda run: _projector(run, 1),
    "projector of three layers": lambda run: _projector(run, 3),
    "momentum from .8": lambda run: replace(run, ema=Ema(0.8, 1.0)),
    "momentum from .97": lambda run: replace(run, ema=Ema(0.97, 1.0)),
    "weight decay x 5": lambda run: _decay(run, 5.0),
    "weight decay x 0": lambda run: _decay(run, 0.0),
    "warm-up of a fifth": lambda run: _warm(run, 0.2),
    "weight .5": lambda run: _weight(run, 0.5),
    "widths 16-32-64-256": lambda run: _widths(run, 16, 32, 64, 256),
    "widths 16-32-96-192": lambda run: _widths(run, 16, 32, 96, 192),
    "widths 24-48-96-192": lambda run: _widths(run, 24, 48, 96, 192),
    "widths 12-24-48-96": lambda run: _widths(run, 12, 24, 48, 96),
    "two blocks a stage": lambda run: _widths(run, 16, 32, 64, 128, blocks=2),
    "temperature .07, projector of one layer": lambda run: _temperature(_projector(run, 1), 0.07),
}
"""What is tried on MoCo-v3 as it is derived now, most of it a second time: the first was with its predictor."""

PHOTOS = "widths 16-32-64-128, views of 64, for its work"
FURTHER: dict[str, Change] = {
    "residual term, weight 2": _term,
    "temperature .1, momentum from .9": _tuned,
    "temperature .1, momentum from .9, residual term, weight 2": _tuned_term,
    "temperature .1, momentum from .9, residual term, weight 2 falling": _tuned_falling,
    "temperature .1, momentum from .9, no predictor, residual term at z, weight 1": lambda run: with_residual(
        _no_predictor(_tuned(run))
    ),
}
"""What is tried on the base and on what is derived for photos."""

OTHERS: dict[str, Change] = {
    "momentum from .9": lambda run: replace(run, ema=Ema(0.9, 1.0)),
    "residual term, weight 1": with_residual,
}
"""Of what is derived for MoCo-v3 alone, what is tried on the other methods with a teacher."""


def plain(method: str) -> str:
    """The setting of a method as it is derived, or as it would be without the term where that is derived."""
    return f"{method}, as derived" + (", no term" if method in WITH_TERM else "")


AS_DERIVED: dict[str, Setting] = {
    f"{method_name(kind())}, as derived": as_derived(name) for name, kind in METHODS.items()
}
WITH_TERM = ("MoCo-v2", "DenseCL")
"""Beside MoCo-v3 those for which the term is derived; what else is tried on them is tried without it."""
AS_DERIVED |= {
    f"{name}, as derived, no term": further(AS_DERIVED[f"{name}, as derived"], _no_term) for name in WITH_TERM
}
AS_DERIVED |= {
    f"{name}, {what}": further(AS_DERIVED[name], change)
    for kind in METHODS.values()
    if kind.traits.teacher and kind is not MoCoV3
    for name in (plain(method_name(kind())),)
    for what, change in OTHERS.items()
    if change is not with_residual or method_name(kind()) not in WITH_TERM
}
AS_DERIVED |= {
    f"{name}, learning rate / {part}": further(AS_DERIVED[name], _lowered(part))
    for name in map(plain, (*WITH_TERM, "BYOL"))
    for part in (3, 10)
}
AS_DERIVED |= {f"{name}, as derived, weight 2": further(AS_DERIVED[f"{name}, as derived"], _term) for name in WITH_TERM}
AS_DERIVED |= {
    f"MoCo-v3, as derived, {what}": further(as_derived("mocov3"), change)
    for what, change in {
        "weight 2": _term,
        "no term": _no_term,
        "with its predictor, weight 2": lambda run: _term(_with_predictor(run)),
        "with its predictor, no term": lambda run: _no_term(_with_predictor(run)),
        "with its predictor, temperature .2, momentum by the length, no term": lambda run: _no_term(
            _untuned(_with_predictor(run))
        ),
        **ONCE_MORE,
    }.items()
}

SETTINGS: dict[str, Setting] = {
    "base": derived,
    "base, seed 1": seeded(derived, 1),
    "base, seed 2": seeded(derived, 2),
    "twice as long": lambda facts: derived(replace(facts, steps=2 * facts.steps)),
    "four times as long": lambda facts: derived(replace(facts, steps=4 * facts.steps)),
    "batch 64": but(lambda run: _batch(run, 64)),
    "batch 256": but(lambda run: _batch(run, 256)),
    "learning rate / 3": but(lambda run: _rate(run, 1 / 3)),
    "learning rate x 3": but(lambda run: _rate(run, 3.0)),
    "AdamW .001": but(lambda run: replace(run, optim=AdamW(lr=1e-3, weight_decay=0.05))),
    "half-life 1/400 of the run": but(lambda run: _life(run, 1 / 400)),
    "half-life 1/100 of the run": but(lambda run: _life(run, 1 / 100)),
    "half-life 1/25 of the run": but(lambda run: _life(run, 1 / 25)),
    "temperature .1": but(lambda run: replace(run, method=replace(_mocov3(run), temperature=0.1))),
    "temperature .5": but(lambda run: replace(run, method=replace(_mocov3(run), temperature=0.5))),
    "crops from .08": but(lambda run: _crops(run, 0.08)),
    "crops from .4": but(lambda run: _crops(run, 0.4)),
    "heads 256/64": but(lambda run: replace(run, method=replace(_mocov3(run), hidden=256, out=64))),
    "residual term, weight 1": but(with_residual),
    **{name: but(change) for name, change in FURTHER.items()},
    "BYOL": but(lambda run: replace(run, method=Byol(1024, 128, 1024))),
    "BYOL, learning rate / 3": but(lambda run: _rate(replace(run, method=Byol(1024, 128, 1024)), 1 / 3)),
    "ImageNet's normalisation": but(lambda run: _normalisation(run, *IMAGENET)),
    "widths 16-32-64-128, for its work": for_its_work(backbone=SmallResNet((16, 32, 64, 128))),
    "widths 64-128-256-512, for its work": for_its_work(backbone=SmallResNet((64, 128, 256, 512))),
    **{
        f"widths 16-32-64-128, views of {size}, for its work": for_its_work(
            backbone=SmallResNet((16, 32, 64, 128)), view=size
        )
        for size in (64, 32)
    },
    **{
        f"{PHOTOS}, {name}": further(for_its_work(backbone=SmallResNet((16, 32, 64, 128)), view=64), change)
        for name, change in FURTHER.items()
    },
    "widths 16-32-64-128, views growing to 64, for its work": for_its_work(
        (0.5, 0.75, 1.0), backbone=SmallResNet((16, 32, 64, 128)), view=64
    ),
    "ResNet-18, for its work": for_its_work(backbone=ResNet(18, stem="small")),
    **{f"views of {size}, for its work": for_its_work(view=size) for size in (24, 32, 48, 96, 128)},
    **AS_DERIVED,
}

# What came out more than two standard deviations of the base above it with one seed, once more with two others, the
# sizes of views, and every method.
CLOSER = (
    *(f"widths 16-32-64-128, views {what}, for its work" for what in ("of 64", "of 32", "growing to 64")),
    *("half-life 1/400 of the run", "temperature .1", "residual term, weight 1"),
    *FURTHER,
    *(f"{PHOTOS}, {name}" for name in FURTHER),
    *AS_DERIVED,
)
SETTINGS |= {f"{name}, seed {seed}": seeded(SETTINGS[name], seed) for name in CLOSER for seed in (1, 2)}
# And three more of what three seeds could not tell apart by several points.
SETTINGS |= {
    f"{name}, seed {seed}": seeded(SETTINGS[name], seed)
    for name in (
        PHOTOS,
        f"{PHOTOS}, temperature .1, momentum from .9, residual term, weight 2",
        "MoCo-v3, as derived",
        "MoCo-v3, as derived, with its predictor, weight 2",
    )
    for seed in (3, 4, 5)
}
