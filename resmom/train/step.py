"""One step of training. Its order is a contract:

teach on the whole batch > student per micro-batch: terms + weight x residual > backward > finite? > clip > optimiser >
teacher moves > memory. A step that is not finite leaves nothing behind, batch statistics included.

On a GPU the host never asks whether it was finite: a flag there gates all that would move (`Rules.gated`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from resmom import dist
from resmom.diagnose.gap import gaps
from resmom.losses.residual import Residual, residual_term, target_entropy
from resmom.method import Method
from resmom.nets.ghosts import share_statistics
from resmom.nets.teacher import PLAIN, Ema, move_teacher, set_mode
from resmom.train.clip import clip_each, clip_parts
from resmom.train.optim import gated_step, set_decay, set_rate
from resmom.train.plan import Plan, Precision
from resmom.train.state import State, count_skip, read_skips, student_of
from resmom.types import Batch, Outcome, Targets

_HALF = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Metrics = dict[str, Tensor]

RESERVED = ("method", "chance", "residual", "online")
"""Names beside `loss/` in the metrics that no term of a method may have: a step writes them itself."""


@dataclass(frozen=True)
class Rules:
    """What is the same for every step of a run."""

    residual: Residual
    precision: Precision = "fp32"
    micro_batch: int = 0
    clip: float = 0.0
    seed: int = 0
    gated: bool = False
    """Whether a flag on the device decides if the step counts; the optimisers must have been built for it."""
    ema: Ema = PLAIN
    """What of the teacher is an average; its momentum comes with each step's plan."""
    clip_each: bool = False
    """Whether `clip` goes for each parameter's gradient by itself."""
    clip_parts: bool = False
    """Whether it goes for the gradients of backbone, heads and heads of patches, each by itself."""


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which networks run at a precision; losses leave it by themselves."""
    return torch.autocast(device.type, dtype=_HALF[precision], enabled=precision != "fp32")


def slices(n: int, size: int) -> Iterator[slice]:
    """0 … n cut into slices of `size` (0: one slice).

    A last row that would be left over gets another one from the slice before, or joins it where that has but two:
    alone, batch norm and the chance gap have nothing to compare it with.
    """
    size = size or n
    start = 0
    while start < n:
        left = n - start
        take = min(size, left)
        if left - take == 1 and size > 1:
            take = left if size == 2 else size - 1
        yield slice(start, start + take)
        start += take


def total_loss(outcome: Outcome, residual: Residual, weight: float) -> tuple[Float[Tensor, ""], Metrics]:
    """The trained total and its parts. With `residual.weight` 0 the term does not exist: the published method."""
    parts = {f"loss/{term.name}": term.value.detach() for term in outcome.terms}
    total = torch.stack([term.weight * term.value for term in outcome.terms]).sum()
    parts["loss/method"] = total.detach()
    if outcome.chance is not None:
        parts["loss/chance"] = (torch.zeros_like(total) + outcome.chance).detach()
    if residual.weight > 0:
        term = residual_term(outcome.pairs, residual)
        total = total + weight * term
        parts["loss/residual"] = term.detach()
        entropy = target_entropy(outcome.pairs, residual)
        if entropy is not None:
            parts["residual/target_entropy"] = entropy
    return total, parts | {"loss": total.detach()}


def _gap_metrics(outcome: Outcome) -> Metrics:
    """Training-time gaps: augmented views, batch statistics of training. Not those of the eval-mode measurement.

    Those of the first kind of pairs are `gap/SITE/…`, of any other `gap/KIND/SITE/…`.
    """
    metrics = {}
    for number, name in enumerate(dict.fromkeys(pair.name for pair in outcome.pairs)):
        pairs = [pair for pair in outcome.pairs if pair.name == name]
        for site in pairs[0].student.sites:
            gap = gaps(pairs, site)
            for kind, value in (("intra", gap.intra), ("inter", gap.inter), ("chance", gap.chance)):
                if value is not None:
                    metrics[f"gap/{name}/{site}/{kind}" if number else f"gap/{site}/{kind}"] = value
    return metrics


def _add(sums: Metrics, values: Metrics, share: float) -> None:
    for name, value in values.items():
        sums[name] = sums[name] + share * value if name in sums else share * value


def train_step(
    state: State, batch: Batch, plan: Plan, rules: Rules, labels: Int[Tensor, " n"] | None = None, measure: bool = False
) -> Metrics:
    """Train on one batch; returns metrics as tensors on the device. `measure` adds the gaps.

    `labels` are seen by the online classifier alone, behind a stopped gradient. The metric `skipped` is 1 where loss or
    gradient were not finite on any rank; weights, teacher, memory and batch statistics are then as before.
    """
    method, device = state.method, batch.views[0].device
    # What a network draws inside (dropped paths, say) is a function of (seed, step) too, so a resumed run repeats it.
    torch.manual_seed((rules.seed << 32) + state.step)
    statistics = Statistics(method)
    if method.teacher is not None:
        set_mode(method.teacher, rules.ema)
    _clear(state)
    metrics: Metrics = {}
    clock = state.clock
    with clock.part("teach", device), autocast(device, rules.precision):
        targets = method.teach(batch)
    memory: list[tuple[Tensor, ...]] = []
    with clock.part("forward_backward", device):
        for rows in slices(len(batch.index), rules.micro_batch):
            parts, remember = _learn(state, batch, targets, rows, plan, rules, labels, measure)
            memory.append(remember)
            _add(metrics, parts, (rows.stop - rows.start) / len(batch.index))
    with clock.part("update", device):
        share_statistics(method)
        _settle(state, plan, rules, metrics, memory, statistics)
    return metrics


def _learn(
    state: State,
    batch: Batch,
    targets: Targets,
    rows: slice,
    plan: Plan,
    rules: Rules,
    labels: Int[Tensor, " n"] | None,
    measure: bool,
) -> tuple[Metrics, tuple[Tensor, ...]]:
    """Forward and backward of one micro-batch: its metrics, and its rows to remember."""
    share = (rows.stop - rows.start) / len(batch.index)
    with autocast(batch.views[0].device, rules.precision):
        outcome = state.method(batch, targets, rows)
    total, parts = total_loss(outcome, rules.residual, plan.residual)
    _backward(state, share * total)
    _freeze(state, outcome.frozen)
    if labels is not None and state.online is not None:
        # Not part of the total: whatever becomes of the classifier, the encoder's step does not depend on it.
        loss = state.online([encoding.h for encoding in outcome.encodings], labels[rows])
        (share * loss).backward()
        parts["loss/online"] = loss.detach()
    if measure and rows.stop - rows.start > 1:  # the chance gap compares different images
        with torch.no_grad():
            parts |= _gap_metrics(outcome)
    return parts, outcome.memory


def _settle(
    state: State,
    plan: Plan,
    rules: Rules,
    metrics: Metrics,
    memory: list[tuple[Tensor, ...]],
    statistics: "Statistics",
) -> None:
    """Everything moves, if loss and gradient are finite; if not, everything is put back. Adds to the metrics."""
    method = state.method
    metrics["grad_norm"] = _gradient_norm(state)
    counts = dist.everywhere(torch.isfinite(metrics["loss"]) & torch.isfinite(metrics["grad_norm"]))
    remembered = tuple(torch.cat(rows) for rows in zip(*memory, strict=True))
    if rules.gated:
        _move(state, plan, rules, metrics["grad_norm"], counts)
        if remembered:
            _remember(method, remembered, counts)
        statistics.restore(unless=counts)
    elif bool(counts):
        _move(state, plan, rules, metrics["grad_norm"], None)
        method.remember(remembered)
    else:
        statistics.restore()
    count_skip(state, counts)
    if not rules.gated:
        read_skips(state)
    if state.scaler is not None:
        state.scaler.update()
    state.step += 1
    metrics["skipped"] = (~counts).float()


class Statistics:
    """The buffers of a method (batch statistics, memory) as they are now, to be put back."""

    def __init__(self, method: Method) -> None:
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for buffer in method.buffers():
            self._buffers.setdefault(buffer.dtype, []).append(buffer)
        # One tensor per kind of number: hundreds of small ones would cost a launch each.
        self._before = {kind: _flat(buffers) for kind, buffers in self._buffers.items()}

    @torch.no_grad()
    def restore(self, unless: Tensor | None = None) -> None:
        """Put them back, except where the boolean tensor `unless` on the device is true."""
        for kind, buffers in self._buffers.items():
            values = self._before[kind]
            if unless is not None:
                values = torch.where(unless, _flat(buffers), values)
            parts = torch.split(values, [buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [part.view(b.shape) for part, b in zip(parts, buffers, strict=True)])


def _flat(buffers: list[Tensor]) -> Tensor:
    return torch.cat([buffer.flatten() for buffer in buffers])


def _remember(method: Method, rows: tuple[Tensor, ...], counts: Tensor) -> None:
    """Let the method remember, and take it back where the step does not count."""
    before = Statistics(method)
    method.remember(rows)
    before.restore(unless=counts)


def _clear(state: State) -> None:
    state.optimizer.zero_grad(set_to_none=True)
    if state.online_optimizer is not None:
        state.online_optimizer.zero_grad(set_to_none=True)


def _backward(state: State, loss: Tensor) -> None:
    (loss if state.scaler is None else state.scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]


def _freeze(state: State, names: tuple[str, ...]) -> None:
    """Take the gradients of parameters that stay as they are: without one, no optimiser moves, decays or counts."""
    if names:
        for name, parameter in student_of(state.method).named_parameters():
            if name.startswith(names):
                parameter.grad = None


def _gradients(optimizer: Optimizer) -> list[Tensor]:
    return [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


def _gradient_norm(state: State) -> Tensor:
    if state.scaler is not None:
        state.scaler.unscale_(state.optimizer)
    return get_total_norm(_gradients(state.optimizer))


def _move(state: State, plan: Plan, rules: Rules, norm: Tensor, counts: Tensor | None) -> None:
    """The weights move: optimiser, then teacher. Only finite steps come here, or those that `counts` will judge."""
    if rules.clip > 0 and rules.clip_each:
        clip_each(_gradients(state.optimizer), rules.clip)
    elif rules.clip > 0 and rules.clip_parts:
        clip_parts(student_of(state.method), rules.clip)
    elif rules.clip > 0:
        parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
        clip_grads_with_norm_(parameters, rules.clip, norm)
    set_rate(state.optimizer, plan.lr)
    if plan.weight_decay is not None:
        set_decay(state.optimizer, plan.weight_decay)
    if counts is None:
        state.optimizer.step()
    else:
        gated_step(state.optimizer, counts)
    if state.online_optimizer is not None:
        gradients = _gradients(state.online_optimizer)
        dist.average(gradients)
        finite = torch.isfinite(get_total_norm(gradients)) if gradients else None
        if finite is not None and counts is not None:
            gated_step(state.online_optimizer, counts & finite)
        elif finite is not None and bool(finite):
            state.online_optimizer.step()
    if state.method.teacher is not None:
        move_teacher(state.method.teacher, student_of(state.method), plan.momentum, counts, rules.ema)
