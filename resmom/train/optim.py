"""Optimisers as the recipes name them, with their parameter groups."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from resmom.called import called
from resmom.nets.depth import layer_rates
from resmom.nets.encoder import Encoder, PatchEncoder


@dataclass(frozen=True)
class Sgd:
    """SGD with momentum; weight decay on all parameters, as MoCo-v1/v2 and solo-learn have it."""

    lr: float = 0.03
    """Per 256 images."""
    weight_decay: float = 1e-4
    momentum: float = 0.9


@dataclass(frozen=True)
class Lars:
    """LARS (You et al. 2017, arXiv 1708.03888). Tensors of one dimension are neither decayed nor adapted.

    `mocov3` is moco-v3's form, trust x |w| / |g + wd w|; `clipped` is solo-learn's, trust x |w| / (|g| + wd |w|), never
    above the plain learning rate. `paper` is Eq. 6, which Lightning Bolts has: the latter without the limit, and for
    tensors of one dimension as well.
    """

    lr: float = 0.3
    """Per 256 images."""
    weight_decay: float = 1e-6
    momentum: float = 0.9
    trust: float = 0.001
    form: Literal["mocov3", "clipped", "paper"] = "mocov3"


@dataclass(frozen=True)
class AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

    lr: float = 1.5e-4
    """Per 256 images."""
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    decay_vectors: bool = False
    """Whether biases, gains and tokens are decayed too (moco-v3 does)."""
    decay_tokens: bool = False
    """Whether class token and positions are decayed too, but not biases and gains (DINO does)."""
    final_decay: float | None = None
    """Weight decay at the end of the run, half a cosine away from `weight_decay`; None: the same throughout."""
    layer_decay: float = 1.0
    """What a layer of the backbone has of the learning rate of the one behind it; the heads have all of it (DINOv2:
    0.9). See `nets/depth.py`."""
    patch_rate: float = 1.0
    """What a transformer's patch projection has of the learning rate of its depth (DINOv2: 0.2)."""

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(
                f"{called('optim.layer_decay')} is {self.layer_decay}; it must be above 0 and at most 1 (none)"
            )
        if self.patch_rate < 0:
            raise ValueError(
                f"{called('optim.patch_rate')} is {self.patch_rate}; it must be 0 (patches stand still) or positive"
            )
        if self.final_decay is not None and (self.weight_decay <= 0 or self.final_decay < 0):
            raise ValueError(
                f"{called('optim.final_decay')} is {self.final_decay}, {called('optim.weight_decay')} "
                f"{self.weight_decay}; a decay that changes must begin above 0, and not end below it"
            )


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) with the decay as part of the gradient (L2), on all parameters.

    As torch.optim.Adam has it: the decay is divided by the gradient's size too, which AdamW's is not.
    """

    lr: float = 1e-3
    """Per 256 images."""
    weight_decay: float = 1e-6
    betas: tuple[float, float] = (0.9, 0.999)


OptimConfig = Sgd | Lars | AdamW | Adam


class LarsOptimizer(Optimizer):
    """Layer-wise adaptive rate scaling with momentum; see `Lars` for the published forms."""

    found_inf: Tensor | None
    """Where set to a tensor of 1, a step changes nothing: as torch's fused optimisers have it."""

    def __init__(self, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, config: Lars) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": config.weight_decay})
        self.config = config
        self.found_inf = None

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            gradients = self._adapted(parameters, group["lr"], group["weight_decay"])
            for p in parameters:
                if "momentum_buffer" not in self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p)
            velocity = [self.state[p]["momentum_buffer"] for p in parameters]
            if self.found_inf is None:
                torch._foreach_mul_(velocity, self.config.momentum)
                torch._foreach_add_(velocity, gradients)
                torch._foreach_add_(parameters, velocity, alpha=-group["lr"])
                continue
            counts = self.found_inf == 0
            moved = torch._foreach_add(torch._foreach_mul(velocity, self.config.momentum), gradients)
            # Chosen, not multiplied by 0: what is not finite times 0 is not finite either.
            torch._foreach_copy_(velocity, [torch.where(counts, m, v) for m, v in zip(moved, velocity, strict=True)])
            torch._foreach_add_(parameters, torch._foreach_mul(velocity, counts.to(velocity[0].dtype) * -group["lr"]))

    def _adapted(self, parameters: list[Tensor], lr: float, weight_decay: float) -> list[Tensor]:
        """The gradients, decayed and scaled where the form says so. New tensors there."""
        matrices = [p for p in parameters if self._scales(p)]
        if not matrices:
            return [_gradient(p) for p in parameters]
        raw = [_gradient(p) for p in matrices]
        decayed = list(torch._foreach_add(raw, matrices, alpha=weight_decay))
        weights, updates = torch.stack(torch._foreach_norm(matrices)), torch.stack(torch._foreach_norm(decayed))
        if self.config.form == "mocov3":
            ratio = torch.where((weights > 0) & (updates > 0), self.config.trust * weights / updates, 1.0)
        else:
            slopes = torch.stack(torch._foreach_norm(raw))
            rate = self.config.trust * weights / (slopes + weight_decay * weights + 1e-8)
            if self.config.form == "paper":
                ratio = rate
            else:  # at a rate of 0 the step is 0 whatever the ratio; the clip would divide by it
                ratio = (rate / lr).clamp(max=1.0) if lr > 0 else torch.ones_like(rate)
            untouched = (weights == 0) | (slopes == 0)
            ratio = torch.where(untouched, 1.0, ratio)
            decayed = [torch.where(u, g, d) for u, g, d in zip(untouched, raw, decayed, strict=True)]
        scaled = iter(torch._foreach_mul(decayed, list(ratio.unbind())))
        return [next(scaled) if self._scales(p) else _gradient(p) for p in parameters]

    def _scales(self, p: Tensor) -> bool:
        return p.ndim > 1 or self.config.form == "paper"


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad


@dataclass(frozen=True)
class Steady:
    """Parameters whose names begin so keep the learning rate `rate` from the first step to the last."""

    names: tuple[str, ...] = ()
    rate: float = 0.0


ALL_SCHEDULED = Steady()


def parameter_groups(
    network: nn.Module,
    weight_decay: float,
    decay_vectors: bool,
    steady: Steady = ALL_SCHEDULED,
    decay_tokens: bool = False,
    rates: Mapping[str, float] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """The trained parameters in at most two groups: decayed, and (unless `decay_vectors`) not decayed.

    Not decayed are biases and gains (one dimension) and, unless `decay_tokens`, what transformers add to their tokens.
    What is `steady` is in groups of its own, which `set_rate` knows by their `steady` rate, and so is what has a share
    of the learning rate in `rates`, by name: by its `scale`.
    """
    chosen = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    kept = [(name, p) for name, p in chosen if name.startswith(steady.names)]
    rest = [pair for pair in chosen if not pair[0].startswith(steady.names)]
    rule = (weight_decay, decay_vectors, decay_tokens)
    groups = []
    for rate in dict.fromkeys((1.0, *rates.values())):
        alike = [(name, p) for name, p in rest if rates.get(name, 1.0) == rate]
        groups += [group if rate == 1 else {**group, "scale": rate} for group in _by_decay(alike, *rule)]
    return groups + [{**group, "steady": steady.rate} for group in _by_decay(kept, *rule)]


def _by_decay(
    parameters: Sequence[tuple[str, Tensor]], weight_decay: float, decay_vectors: bool, decay_tokens: bool
) -> list[dict[str, Any]]:
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, p in parameters:
        spared = p.ndim <= 1 or (name.endswith(("pos_embed", "cls_token")) and not decay_tokens)
        (free if spared and not decay_vectors else decayed).append(p)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(
    config: OptimConfig,
    network: nn.Module,
    weight_decay: float | None = None,
    gated: bool | None = None,
    steady: Steady = ALL_SCHEDULED,
) -> Optimizer:
    """The optimiser a config describes for a network's trained parameters; `weight_decay` replaces the config's.

    `gated` (by default on a GPU): its step obeys a flag on the device, see `gated_step`.
    """
    if gated is None:
        gated = any(p.is_cuda for p in network.parameters())
    decay = config.weight_decay if weight_decay is None else weight_decay
    match config:
        case Sgd():
            groups = parameter_groups(network, decay, True, steady)
            made = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, foreach=not gated, fused=gated)
            _begin_momentum(made)
            return made
        case Lars():
            # The optimiser itself spares vectors: which of them are adapted is part of the method.
            groups = parameter_groups(network, decay, True, steady)
            return LarsOptimizer(groups, 0.0, config)
        case AdamW():
            rates = _rates(network, config)
            groups = parameter_groups(network, decay, config.decay_vectors, steady, config.decay_tokens, rates)
            return torch.optim.AdamW(groups, lr=0.0, betas=config.betas, foreach=not gated, fused=gated)
        case Adam():
            groups = parameter_groups(network, decay, True, steady)
            return torch.optim.Adam(groups, lr=0.0, betas=config.betas, foreach=not gated, fused=gated)


def _rates(network: nn.Module, config: AdamW) -> dict[str, float]:
    """The share of the learning rate that parameters of an encoder's backbone have, by name, where it is not all."""
    if not isinstance(network, Encoder) or config.layer_decay == config.patch_rate == 1:
        return {}
    rates = dict(layer_rates(network.backbone, config.layer_decay, "backbone."))
    if isinstance(network, PatchEncoder):  # it stands for patches, before the first layer
        rates["mask_token"] = min(rates.values())
    for name in rates:
        if ".patch_embed." in name:
            rates[name] *= config.patch_rate
    return rates


def load_optimizer(optimizer: Optimizer, saved: Mapping[str, Any]) -> None:
    """Put a saved state into an optimiser just built. Raises ValueError where its groups are others.

    How its step is computed stays that of this machine: a state saved on a CPU would otherwise undo the gate of a GPU,
    and with it where the state has to lie.
    """
    own = [{name: group[name] for name in ("fused", "foreach") if name in group} for group in optimizer.param_groups]
    if len(own) != len(saved["param_groups"]):
        raise ValueError(f"the optimiser saved there has {len(saved['param_groups'])} groups, this one {len(own)}")
    groups = [{**group, **how} for group, how in zip(saved["param_groups"], own, strict=True)]
    optimizer.load_state_dict({**saved, "param_groups": groups})
    _begin_momentum(optimizer)  # of parameters frozen until now, for which a CPU's step has kept nothing


def _begin_momentum(optimizer: Optimizer) -> None:
    """Momentum of 0 where a gated SGD has none: left to its first step, a skipped one would keep memory it never
    wrote."""
    for group in optimizer.param_groups:
        for p in group["params"] if group.get("fused") and group.get("momentum") else ():
            if optimizer.state[p].get("momentum_buffer") is None:
                optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)


def gated_step(optimizer: Optimizer, counts: Tensor) -> None:
    """A step that changes nothing where `counts`, a boolean tensor on the device, is false; nobody waits for it.

    The optimiser must have been built `gated`.
    """
    # The contract of torch's fused optimisers, which GradScaler uses; `grad_scale` 1: gradients are unscaled already.
    optimizer.found_inf = (~counts).float()  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    optimizer.step()


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group the learning rate of this step, or its share of it; those apart that keep a steady one."""
    for group in optimizer.param_groups:
        group["lr"] = group.get("steady", lr * group.get("scale", 1.0))


def set_decay(optimizer: Optimizer, weight_decay: float) -> None:
    """Give the groups that are decayed the weight decay of this step."""
    for group in optimizer.param_groups:
        if group["weight_decay"] > 0:
            group["weight_decay"] = weight_decay
