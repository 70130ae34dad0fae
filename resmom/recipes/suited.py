"""A method that was asked for by its name, made for a derived run: its heads, queue and schedules, optimiser and views.

The published defaults are for ImageNet: heads of 4096 behind a network of 128 features, and queues longer than a small
folder. What is set here for small networks is what benchmarks/questions/methods.json ran on one; docs/automatic.md has
the rules.
"""

from dataclasses import replace

from resmom.config import Run
from resmom.data.order import steps_per_epoch
from resmom.losses.residual import Residual
from resmom.methodconfig import Grouped, MethodConfig, Queued, site_for, with_pairs
from resmom.methods.barlow import BarlowTwins
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.msf import MSF
from resmom.methods.nnclr import NNCLR
from resmom.methods.nnclr_ema import NNCLREma
from resmom.methods.ressl import ReSSL
from resmom.methods.simsiam import SimSiam
from resmom.methods.vicreg import VICReg
from resmom.nets.backbones import BackboneConfig
from resmom.recipes.teaching import ema_for, measured, mocov3_for, small_heads
from resmom.train.optim import Lars, OptimConfig, Sgd
from resmom.train.plan import length
from resmom.views.policy import View, weak

SMALL_QUEUE = 4096
"""The longest queue beside a small network: measured with it."""
SMALL_PROTOTYPES = 1024
LEAST_PROTOTYPES = 512


def suited(
    method: MethodConfig, backbone: BackboneConfig, images: int, batch: int, passes: float, known: bool = False
) -> tuple[MethodConfig, str]:
    """The kind of `method` with settings for that network, so many images and passes over them; and why in words.

    Where nothing has to be otherwise, its published defaults stay. MoCo-v3, which is derived without being asked for,
    has what was measured of it where that is `known` to hold (`teaching.measured`).
    """
    if isinstance(method, MoCoV3):
        reason = (
            "contrastive, needs no large batch at this temperature, and its loss has a chance level to be judged by"
        )
        reason += "; without its predictor short runs reached a higher kNN (docs/results/settings.md)" if known else ""
        return mocov3_for(backbone, known), reason
    small = small_heads(backbone)
    made = _with_heads(method, *small) if small is not None else method
    parts = ["heads for a small network" if small is not None else "its published heads"]
    if isinstance(made, Grouped):
        made = _grouped(made, small is not None, images, passes)
        parts.append(f"{made.prototypes} prototypes")
    elif isinstance(made, Queued):
        made = _queued(made, small is not None, images, batch)
        parts.append(f"a queue of {made.queue}, half of the images at most")
    if isinstance(made, MSF):
        made = replace(made, symmetric=True)  # each view is the student's in turn
    return made, f"asked for: {' and '.join(parts)}"


def _with_heads(method: MethodConfig, hidden: int, out: int) -> MethodConfig:
    match method:
        case Byol() | MSF() | NNCLR() | NNCLREma():
            return replace(method, hidden=hidden, out=out, predictor_hidden=hidden)
        case SimSiam():  # its predictor is a bottleneck, a quarter of the projections
            return replace(method, hidden=hidden, out=hidden, predictor_hidden=hidden // 4)
        case BarlowTwins() | VICReg():  # correlations of as many numbers as the hidden layer has
            return replace(method, hidden=hidden, out=hidden)
        case _:
            return replace(method, hidden=hidden, out=out)


def _queued(method: Queued, small: bool, images: int, batch: int) -> Queued:
    """With the longest power of two that is at most half of the images: no image meets itself as it was just before."""
    most = min(method.queue, SMALL_QUEUE) if small else method.queue
    return replace(method, queue=max(min(most, _power(images / 2)), min(batch, images)))


def _grouped(method: Grouped, small: bool, images: int, passes: float) -> Grouped:
    """With prototypes by the number of images, and with what is scheduled in epochs in proportion to a short run."""
    few = max(LEAST_PROTOTYPES, _power(images / 8))
    most = min(SMALL_PROTOTYPES, few) if small else few
    made = replace(
        method,
        prototypes=min(method.prototypes, most),
        frozen_epochs=min(method.frozen_epochs, round(passes / 8, 3)),
        temperature_epochs=min(method.temperature_epochs, int(passes / 10)),
    )
    if not isinstance(made, Dino):
        made = replace(made, patch_prototypes=min(made.patch_prototypes, most))
    if not small:
        return made
    # A small network with the head of the paper ends with all images at one point: docs/log.md, "DINO in two epochs".
    made = replace(made, teacher_temperature=0.04, temperature_epochs=0)
    match made:
        case Dino():
            return replace(made, batch_norm=True)
        case Ibot():
            return replace(made, patch_temperature=0.04)
        case Dinov2():
            return made


def _power(number: float) -> int:
    """The largest power of two that is no more than that."""
    return int(2 ** (int(number).bit_length() - 1)) if number >= 1 else 1


def optim_for(method: MethodConfig, derived: OptimConfig) -> OptimConfig:
    """The optimiser that is derived for the network; in place of SGD LARS, where the loss is of another size than a
    cross-entropy: its steps do not depend on the size."""
    if isinstance(method, BarlowTwins | VICReg) and isinstance(derived, Sgd):
        return Lars(lr=derived.lr, weight_decay=derived.weight_decay, trust=0.02, form="clipped")
    return derived


def views_for(method: MethodConfig, view: View) -> tuple[View, View]:
    """Two alike; in ReSSL the teacher sees crops and flips alone (arXiv 2107.09282, section 3.2)."""
    if isinstance(method, ReSSL):
        return view, weak(view)
    return view, view


def with_method(run: Run, method: MethodConfig, images: int) -> Run:
    """A derived run with another kind of method, as it would have been derived with that one at the same length.

    The weight of the residual term stays, where the method can have it, so that arms differ in the method.
    """
    if type(method) is type(run.method):
        return run
    per_epoch = steps_per_epoch(images, run.train.batch)
    steps = length(run.train, per_epoch)
    known = measured(method, run.backbone, run.init)
    made, _ = suited(method, run.backbone, images, run.train.batch, steps / per_epoch, known)
    own = run.residual.site == site_for(run.method)  # not a choice of somebody's, but the method's
    term = replace(run.residual, site=site_for(made) if own else site_for(made, run.residual.site))
    if not made.traits.teacher:
        term = Residual()
    elif term.weight > 0:
        made = with_pairs(made)
    ema, _ = ema_for(known, steps)
    optim = run.optim
    if isinstance(optim, Sgd | Lars):
        optim = optim_for(made, Sgd(lr=optim.lr, weight_decay=optim.weight_decay))
    views = views_for(made, run.policy.views[0])
    return replace(run, method=made, ema=ema, residual=term, optim=optim, policy=replace(run.policy, views=views))
