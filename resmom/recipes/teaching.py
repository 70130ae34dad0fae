"""Of a run that is derived: the method, how fast its teacher follows, and whether the residual term draws to it.

On a CPU, with the small ResNet that is derived there, these three were measured together (docs/automatic.md).
Everything else has what the literature has, and a teacher that follows by the length of the run.
"""

import math

from resmom.losses.residual import Residual
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, SmallResNet
from resmom.nets.teacher import Ema
from resmom.recipes.facts import Facts


def measured(facts: Facts, backbone: BackboneConfig) -> bool:
    """Whether temperature, momentum and the term were measured for such a run: MoCo-v3 with a small ResNet from random
    weights."""
    return isinstance(backbone, SmallResNet) and not facts.init and not facts.own


def method_for(facts: Facts, backbone: BackboneConfig) -> tuple[MoCoV3, str]:
    """MoCo-v3 with a temperature and with heads that suit the backbone, and why."""
    reason = "contrastive, needs no large batch at this temperature, and its loss has a chance level to be judged by"
    match backbone:
        case SmallResNet(widths=widths):
            temperature = 0.1 if measured(facts, backbone) else 0.2
            return MoCoV3(temperature=temperature, hidden=4 * widths[-1], out=128), reason
        case MoCoViT(size="micro") | DinoViT(size="micro"):  # of the usual heads a step would be most
            return MoCoV3(0.2, hidden=512, out=128, projector_layers=3, predictor_norm="plain"), reason
        case MoCoViT() | DinoViT():
            return MoCoV3(0.2, projector_layers=3, predictor_norm="plain"), reason
        case _:
            return MoCoV3(temperature=0.2, hidden=2048, out=256), reason


def ema_for(facts: Facts, backbone: BackboneConfig, steps: int) -> tuple[Ema, str]:
    """How fast the teacher of a run of so many steps follows, and why."""
    if measured(facts, backbone):
        return Ema(0.9, 1.0), "a half-life of 7 steps at the start: measured in runs of 600 to 8,000 steps"
    return ema_by_length(steps)


def ema_by_length(steps: int) -> tuple[Ema, str]:
    """The same where nothing was measured: a share of the run."""
    hundredth, tenth = steps / 100, steps / 10
    life = min(700.0, max(20.0, hundredth), tenth)  # past a tenth the teacher is still its random start
    if life == hundredth:
        share = "a hundredth of the run"
    elif life < 20:
        share = "a tenth of so short a run"
    else:
        bound = "at least" if life > hundredth else "at most"
        share = f"{bound} so many, where a hundredth of the run is {hundredth:,.0f}"
    return Ema(momentum_of(life), 1.0), f"a half-life of {life:.0f} steps: {share}"


def momentum_of(half_life_steps: float) -> float:
    """The momentum whose half-life is so many steps."""
    return math.exp(math.log(0.5) / half_life_steps)


def term_for(facts: Facts, backbone: BackboneConfig) -> tuple[Residual, str]:
    """Whether the student is drawn to the teacher on the same view, and why."""
    if measured(facts, backbone):
        reason = (
            "with the term, this temperature and this teacher together short runs reached a higher kNN, on photos too "
            "(docs/automatic.md); --residual.weight 0 leaves it out"
        )
        return Residual(weight=2.0), reason
    reason = "the published method; whether the term helps here is not known (docs/compare.md)"
    return Residual(), f"{reason}; --residual.weight 1 has it"
