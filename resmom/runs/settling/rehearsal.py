"""A step with what was given from Python, on a copy and a few images, before anything of a run is written."""

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor, nn

from resmom.called import called
from resmom.clock import Clock
from resmom.config import ConfigError
from resmom.errors import UserError
from resmom.evaluate.features import frozen
from resmom.method import Method
from resmom.nets.copies import copied
from resmom.runs.own import names
from resmom.runs.settling.company import sites_with_company
from resmom.runs.training.job import Job, backbone_of
from resmom.train.optim import build_optimizer
from resmom.train.state import State, load_network, networks_of, restored, set_aside, student_of
from resmom.train.step import RESERVED, train_step
from resmom.types import Batch, Encoding, Outcome, PairKind, Targets

FEW = 32
"""Most images of such a step."""
RAISED = (RuntimeError, AssertionError, ValueError, TypeError, AttributeError, LookupError)
"""What a method or a module of others raises where it is wrong."""


def rehearse(job: Job) -> str:
    """Take a step with the user's own method or backbone, and what a run does after its first; nothing is kept of it.

    Returns what to tell before the start, empty where there is nothing to tell. Raises ConfigError with the reason if
    that fails, if loss or features are no finite numbers, or if nothing would be learnt. Other runs are not tried.
    """
    own = names(job.own)
    if not own:
        return ""
    who = f"the method {own['method']}" if "method" in own else f"the backbone {own['backbone']}"
    whole = job.batch(0)
    job.state.clock = Clock()  # what this batch took is no part of the run
    few = whole.rows(slice(0, FEW))
    try:
        return _try(job, few, who)
    except ConfigError:
        if len(few.index) == len(whole.index):
            raise
        return _try(job, whole, who)  # what a method holds may be made for batches of the run's own size


def _try(job: Job, batch: Batch, who: str) -> str:
    with torch.random.fork_rng(devices=[]):
        try:
            state = _copied(job)
            _require_kept(state.method, who)
            _require_networks(state.method, batch, who)
            notice = _company_words(state.method, batch, who)
            _require_words(job, state.method, batch, who)
            _require_rows(state.method, batch, who)
            labels, first = None if job.labels is None else job.labels[batch.index], set_aside(state.method)
            train_step(state, batch, job.plan(0), job.rules, labels, measure=True)
            with restored(state.method, first):  # as a run measures its start
                _require_networks(state.method, batch, who)
            for name, network in networks_of(state.method).items():  # as a resumed run does
                load_network(network, network.state_dict(), name)
            return notice
        except UserError:
            raise
        except RAISED as error:
            told = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"a step with {who} was tried on {len(batch.index)} images before anything was written: {told}"
            ) from error


def _copied(job: Job) -> State:
    """The state of before the first step, with networks and optimisers of its own."""
    method, online = copied(job.state.method), None if job.state.online is None else copied(job.state.online)
    optim, decay = job.run.optim, job.run.online.weight_decay
    learner = None if online is None else build_optimizer(optim, online, weight_decay=decay)
    return State(method, build_optimizer(optim, method.student), online=online, online_optimizer=learner)


def _require_kept(method: Method, who: str) -> None:
    """Raise ConfigError for what would be trained or saved by nobody: it is of no network, or it is no tensor; and for
    a teacher that is the student."""
    if method.teacher is not None and _weights(method.teacher) & _weights(method.student):
        raise ConfigError(
            f"the teacher of {who} has weights of its student, so that it is trained with it and no gap is between the "
            "two; set self.teacher = make_teacher(self.student), which copies them, or None for a method without"
        )
    kept = {id(parameter) for network in networks_of(method).values() for parameter in network.parameters()}
    named = method.named_parameters()
    if stray := [name for name, parameter in named if parameter.requires_grad and id(parameter) not in kept]:
        raise ConfigError(
            f"{who} has parameters outside of student and teacher, which no optimiser would train and no checkpoint "
            f"keep: {_few(stray)}; make them a part of the student, its projector or predictor, or one of its own that "
            "is there before make_teacher copies it; where they shall stay as they are, make them buffers"
        )
    if others := [name for name, value in method.state_dict().items() if not isinstance(value, Tensor)]:
        raise ConfigError(
            f"the state dict of {who} has what is no tensor, and files of weights hold nothing else: {_few(others)}; "
            "keep it in a buffer, or do without get_extra_state"
        )


def _weights(network: nn.Module) -> set[int]:
    return {id(parameter) for parameter in network.parameters()}


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _require_networks(method: Method, batch: Batch, who: str) -> None:
    for name, network in networks_of(method).items():
        with frozen(network):
            said = network(batch.views[0])
        if not isinstance(said, Encoding):
            raise ConfigError(
                f"the {name} of {who} returns {_kind(said)} for a view; it must return an Encoding(h, z), or "
                "Encoding(h, z, p) with a predictor, as resmom.nets.encoder.Encoder does"
            )
        if broken := [site for site in ("h", "z", "p") if not _finite(getattr(said, site))]:
            raise ConfigError(
                f"the {name} of {who} has features that are not finite ({_few(broken)} of a view, in evaluation mode) "
                "with the weights it begins with; look for weights that are nan, a logarithm or a square root of 0 or "
                "less, a division by 0, or an overflow"
            )


def _company_words(method: Method, batch: Batch, who: str) -> str:
    """That the images of a batch are not judged one by one, if so: allowed, but nobody may be left to find out."""
    try:
        sites = sites_with_company(student_of(method), batch.views[0])
    except RAISED:  # one made for batches of the run's size alone, of which this cannot be told
        return ""
    if not sites:
        return ""
    return (
        f"attention: what the student of {who} says of an image in evaluation mode ({', '.join(sites)}) depends on the "
        "other images of its batch, and so will kNN, probes, gaps and embeddings; BatchNorm without running statistics "
        "(track_running_stats=False) does that. Let it track them, or normalise each image by itself (GroupNorm, "
        "LayerNorm)"
    )


def _require_words(job: Job, method: Method, batch: Batch, who: str) -> None:
    """Raise ConfigError unless the method says what a run needs of it, and its loss reaches the backbone."""
    method.train()
    targets = method.teach(batch)
    if not isinstance(targets, Targets):
        raise ConfigError(
            f"teach() of {who} returns {_kind(targets)}; it must return Targets, without a teacher Targets(())"
        )
    said = method(batch, targets, slice(0, len(batch.index)))
    if not isinstance(said, Outcome):
        raise ConfigError(
            f"forward() of {who} returns {_kind(said)}; it must return an Outcome(terms, encodings, pairs)"
        )
    values = [term.value for term in said.terms]
    _require_names([term.name for term in said.terms], who)
    if not values or any(not isinstance(value, Tensor) or value.ndim for value in values):
        raise ConfigError(
            f"the loss of {who} must be one Term or more, each with a single number; got {_kinds(values)}"
        )
    if broken := [term.name for term in said.terms if not term.value.isfinite()]:
        raise ConfigError(
            f"the loss of {who} is not a finite number at the first step (the term {_few(broken)}), and nothing can be "
            "learnt from it; look for a logarithm or a square root of 0 or less, a division by 0, or an overflow"
        )
    parameters = [p for p in backbone_of(student_of(method)).parameters() if p.requires_grad]
    total = torch.stack(values).sum()
    reached = torch.autograd.grad(total, parameters, allow_unused=True) if total.requires_grad and parameters else ()
    if all(gradient is None for gradient in reached):
        raise ConfigError(
            f"the loss of {who} carries no gradient to the backbone, so nothing of it would be trained; look for "
            "detach(), no_grad(), or parameters that take no gradient"
        )
    if job.labels is not None and not said.encodings:
        raise ConfigError(
            f"{who} hands out no encodings, from which the online classifier learns; give what the student said of the "
            "views, Outcome(terms, encodings), or images without labels"
        )
    if wrong := [pair.name for pair in said.pairs if pair.name not in get_args(PairKind)]:
        raise ConfigError(
            f"{who} names a Pair {', '.join(map(repr, dict.fromkeys(wrong)))}; the names are "
            f"{', '.join(get_args(PairKind))} (of whole views, places, patches, small views), of which "
            f"{called('residual.pairs')} chooses"
        )
    if job.run.residual.weight > 0 and not said.pairs:
        raise ConfigError(
            f"{who} hands out no pairs, so the residual term has nothing to compare; give a Pair for every view that "
            f"both networks saw, or set {called('residual.weight')} to 0"
        )


def _require_rows(method: Method, batch: Batch, who: str) -> None:
    """Raise ConfigError for a method whose batch may be cut, and whose loss for some images is one of the others too.

    The gradient of that loss by the pixels tells: that of all other images has to be 0.
    """
    count = len(batch.index)
    if not method.micro_batches or count < 4:
        return
    # Something computed of the pixels, so that a network may change it in place.
    pixels = tuple(view.detach().clone().requires_grad_() for view in batch.views)
    seen = replace(batch, views=tuple(view * 1 for view in pixels))
    part = slice(count // 4, count // 2)
    said = method(seen, method.teach(batch), part)
    total = torch.stack([term.value for term in said.terms]).sum()
    gradients = torch.autograd.grad(total, pixels, allow_unused=True)
    others = [image for image in range(count) if not part.start <= image < part.stop]
    if any(gradient is not None and bool(gradient[others].any()) for gradient in gradients):
        raise ConfigError(
            f"{who} says micro_batches = True, but for images {part.start} to {part.stop - 1} alone its loss depends "
            "on what its student says of others, which would be counted once for every part of the batch. Give the "
            "student view[rows] of every view in forward(batch, targets, rows), or leave micro_batches out"
        )


def _require_names(names: list[str], who: str) -> None:
    """Raise ConfigError for names of terms that would overwrite each other, or the metrics of the step."""
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if wrong := twice + [name for name in RESERVED if name in names and name not in twice]:
        raise ConfigError(
            f"the terms of {who} are named {_few(names)}, and metrics.jsonl has each as loss/NAME: {_few(wrong)} would "
            f"overwrite another number; give every Term a name of its own, other than {', '.join(RESERVED)}, which a "
            "step writes itself"
        )


def _finite(said: object) -> bool:
    return not isinstance(said, Tensor) or bool(said.isfinite().all())


def _kind(thing: object) -> str:
    return f"a {type(thing).__name__}"


def _kinds(values: list[Tensor]) -> str:
    found = [f"one of shape {tuple(v.shape)}" if isinstance(v, Tensor) else _kind(v) for v in values]
    return ", ".join(found) or "none"
