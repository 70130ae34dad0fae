"""Of a run that is derived: the method, how fast its teacher follows, and whether the residual term draws to it.

On a CPU, with the small ResNet that is derived there, these were measured together (docs/results/settings.md).
Everything else has what the literature has, and a teacher that follows by the length of the run.
"""

import math

from resmom.called import setting
from resmom.losses.residual import Residual
from resmom.methodconfig import MethodConfig
from resmom.methods.densecl import DenseCL
from resmom.methods.mocov2 import MoCoV2
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, SmallResNet
from resmom.nets.teacher import Ema
from resmom.which import Site


def measured(method: MethodConfig, backbone: BackboneConfig, init: str) -> bool:
    """Whether temperature, predictor, momentum and the term were measured for such a run: MoCo-v3 with a small ResNet
    from random weights."""
    return isinstance(method, MoCoV3) and isinstance(backbone, SmallResNet) and not init


def helped(method: MethodConfig, backbone: BackboneConfig, init: str) -> bool:
    """Whether the residual term was measured to help such a run: MoCo-v3, MoCo-v2 or DenseCL with a small ResNet from
    random weights."""
    return isinstance(method, MoCoV3 | MoCoV2 | DenseCL) and isinstance(backbone, SmallResNet) and not init


def small_heads(backbone: BackboneConfig) -> tuple[int, int] | None:
    """Widths of a head's hidden layer and of its output, for a network that is small; None for others."""
    match backbone:
        case SmallResNet(widths=widths):
            return 4 * widths[-1], 128
        case MoCoViT(size="micro") | DinoViT(size="micro"):  # with the usual heads a step would be mostly these
            return 512, 128
        case _:
            return None


def mocov3_for(backbone: BackboneConfig, known: bool) -> MoCoV3:
    """MoCo-v3 with heads that suit the backbone; where it was measured (`known`: see `measured`), with the temperature
    that was best, and without a predictor."""
    small = small_heads(backbone)
    match backbone:
        case MoCoViT() | DinoViT():
            hidden, out = small or (4096, 256)
            return MoCoV3(0.2, hidden, out, projector_layers=3, predictor_norm="plain")
        case _:
            hidden, out = small or (2048, 256)
            return MoCoV3(0.1, hidden, out, predictor_layers=0) if known else MoCoV3(0.2, hidden, out)


def ema_for(known: bool, steps: int) -> tuple[Ema, str]:
    """How fast the teacher of a run of so many steps follows, and why."""
    if known:
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
    told = "less than a step" if life < 1 else f"{life:.0f} step{'' if round(life) == 1 else 's'}"
    return Ema(momentum_of(life), 1.0), f"a half-life of {told}: {share}"


def momentum_of(half_life_steps: float) -> float:
    """The momentum whose half-life is so many steps."""
    return math.exp(math.log(0.5) / half_life_steps)


def term_for(method: MethodConfig, drawn: bool, site: Site = "p") -> tuple[Residual, str]:
    """Whether the student is drawn to the teacher on the same view (`drawn`: see `helped`), at which site, and why."""
    if drawn:
        others = ", temperature 0.1, a teacher from momentum 0.9 and no predictor" if isinstance(method, MoCoV3) else ""
        reason = (
            f"short runs reached a higher kNN with it{others}, on photos too (docs/results/settings.md); "
            f"{setting('residual.weight', 0)} leaves it out"
        )
        return Residual(weight=1.0, site=site), reason
    reason = "the published method; whether the term helps here is not known (docs/compare.md)"
    return Residual(site=site), f"{reason}; {setting('residual.weight', 1)} turns it on"
