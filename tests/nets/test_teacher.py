"""How the teacher follows: against slow loops over single numbers, with and without the flag on the device."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from resmom.config import ConfigError, Run, from_json, to_json
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.heads import mlp
from resmom.nets.teacher import Ema, make_teacher, move_teacher, set_mode
from tests import toy

RULES = [Ema(batch_norm=b, part=p) for b in ("own", "copied", "averaged") for p in ("all", "projector")]
FLAGS = [None, True, False]


def pair(seed: int = 0) -> tuple[Encoder, Encoder]:
    """A student and its teacher with BatchNorm in backbone and heads, all numbers of both apart, buffers included."""
    torch.manual_seed(seed)
    body = nn.Sequential(toy.Flat(48, 12), nn.BatchNorm1d(12))
    body.forward_features = body.forward  # type: ignore[assignment]
    body.forward_head = lambda x, pre_logits=True: x  # type: ignore[assignment]
    student = Encoder(Backbone(body, 12), mlp(12, 16, 8, 2), mlp(8, 16, 8, 2)).double()
    teacher = make_teacher(student)
    generator = torch.Generator().manual_seed(seed + 1)
    for network in (student, teacher):
        for value in itertools.chain(network.parameters(), network.buffers()):
            if value.is_floating_point():
                value.data.copy_(torch.rand(value.shape, generator=generator, dtype=value.dtype) + 0.1)
            else:
                value.copy_(torch.randint(2, 99, value.shape, generator=generator))
    return student, teacher


def oracle(name: str, ours: Tensor, theirs: Tensor, momentum: float, rule: Ema, buffer: bool) -> list[float]:
    """One number after the other, from the words of the papers."""
    if buffer and rule.batch_norm == "own":
        return ours.flatten().tolist()
    whole = buffer and (rule.batch_norm == "copied" or ours.dtype == torch.int64)
    if whole or (rule.part == "projector" and name.startswith("backbone.")):
        return theirs.flatten().tolist()
    pairs = zip(ours.flatten().tolist(), theirs.flatten().tolist(), strict=True)
    return [momentum * t + (1 - momentum) * s for t, s in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("flag", FLAGS, ids=["plain", "counts", "skipped"])
def test_every_number_moves_as_the_papers_say(rule: Ema, flag: bool | None) -> None:
    student, teacher = pair()
    theirs, before = student.state_dict(), {name: value.clone() for name, value in teacher.state_dict().items()}
    kept = {name: value.clone() for name, value in theirs.items()}
    buffers = {name for name, _ in teacher.named_buffers()}
    move_teacher(teacher, student, 0.7, None if flag is None else torch.tensor(flag), rule)
    for name, value in teacher.state_dict().items():
        want = before[name].flatten().tolist()
        if flag is not False:
            want = oracle(name, before[name], theirs[name], 0.7, rule, name in buffers)
        assert value.flatten().tolist() == pytest.approx(want, rel=1e-12, abs=0), name
        assert value.dtype == before[name].dtype
    assert all(torch.equal(value, kept[name]) for name, value in student.state_dict().items())


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("flag", [None, True])
def test_what_is_copied_is_the_same_to_the_last_bit(rule: Ema, flag: bool | None) -> None:
    student, teacher = pair(3)
    move_teacher(teacher, student, 0.3, None if flag is None else torch.tensor(flag), rule)
    ours, theirs = teacher.state_dict(), student.state_dict()
    same = {name for name in ours if torch.equal(ours[name], theirs[name])}
    buffers = {name for name, _ in teacher.named_buffers()}
    counts = {name for name in buffers if name.endswith("num_batches_tracked")}
    backbone = {name for name in ours if name.startswith("backbone.")}
    want = (backbone - buffers if rule.part == "projector" else set()) | (
        {
            "own": set(),
            "copied": buffers,
            "averaged": counts | (backbone & buffers if rule.part == "projector" else set()),
        }
    )[rule.batch_norm]
    assert same == want


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_move_that_does_not_count_stands_what_is_not_finite_in_the_statistics(rule: Ema) -> None:
    student, teacher = pair()
    for buffer in student.buffers():
        if buffer.is_floating_point():
            buffer.fill_(math.nan)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    move_teacher(teacher, student, 0.7, torch.tensor(False), rule)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_default_is_the_plain_average_of_parameters_bit_for_bit() -> None:
    (student, teacher), (_, other) = pair(), pair()
    move_teacher(teacher, student, 0.9)
    with torch.no_grad():
        for name, p in other.named_parameters():
            p.lerp_(student.get_parameter(name), 1.0 - 0.9)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in teacher.state_dict().items())


def test_only_averaged_statistics_take_the_teacher_out_of_training_mode() -> None:
    _, teacher = pair()
    for rule in RULES:
        teacher.train()
        set_mode(teacher, rule)
        assert teacher.training == (rule.batch_norm != "averaged")


def test_buffers_of_another_make_are_refused() -> None:
    student, teacher = pair()
    teacher.projector[1] = nn.BatchNorm1d(16, track_running_stats=False).double()
    move_teacher(teacher, student, 0.9)
    with pytest.raises(ValueError, match="differ in buffers"):
        move_teacher(teacher, student, 0.9, rule=Ema(batch_norm="copied"))


@pytest.mark.parametrize("wrong", [{"momentum": -0.1}, {"momentum": 1.1}, {"final": -0.1}, {"final": 1.1}], ids=str)
def test_a_momentum_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"in \\[0, 1\\].*{next(iter(wrong.values()))}"):
        Ema(**wrong)
    for border in (0.0, 1.0):
        Ema(border, 1.0 - border)


@pytest.mark.parametrize("wrong", [{"batch_norm": "mine"}, {"part": "head"}, {"schedule": "steps"}])
def test_unknown_ways_are_refused(wrong: dict[str, str]) -> None:
    plain = to_json(Run())
    plain["ema"] |= wrong
    with pytest.raises(ConfigError, match="ema"):
        from_json(plain)


def normalised(method: Method) -> Tensor:
    """What the teacher's first BatchNorm makes of a batch inside `teach`."""
    seen: list[Tensor] = []
    handle = method.teacher.projector[1].register_forward_hook(lambda module, inputs, out: seen.append(out.clone()))
    method.teach(toy.batch(5))
    handle.remove()
    return seen[0]


def test_an_averaged_teacher_normalises_with_its_running_statistics() -> None:
    made = toy.method(parted=False)
    assert normalised(made).mean(0).abs().max() < 1e-12  # of the batch
    set_mode(made.teacher, Ema(batch_norm="averaged"))
    before = {name: value.clone() for name, value in made.teacher.named_buffers()}
    assert normalised(made).mean(0).abs().max() > 1e-3
    assert all(torch.equal(value, before[name]) for name, value in made.teacher.named_buffers())
