"""BatchNorm over groups of the batch, and keys shuffled among them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resmom.nets.backbones import Backbone
from resmom.nets.encoder import Encoder
from resmom.nets.ghosts import GhostBatchNorm2d, as_ever, ghosts, in_groups, shuffled
from resmom.nets.heads import dense_mlp, mlp
from resmom.nets.teacher import make_teacher, move_teacher, unrecorded
from tests import toy


def norm(images: int = 3, **options: Any) -> tuple[nn.BatchNorm2d, nn.BatchNorm2d]:
    """One BatchNorm in groups, and the same one of the whole batch."""
    torch.manual_seed(0)
    whole = nn.BatchNorm2d(4, **options).double()
    for tensor in [*whole.parameters(), *(b for b in whole.buffers() if b.is_floating_point())]:
        tensor.data.uniform_(0.5, 1.5)
    return in_groups(nn.Sequential(copy.deepcopy(whole)), images)[0], whole


def maps(n: int = 9) -> Tensor:
    return torch.randn(n, 4, 5, 5, dtype=torch.float64) + torch.arange(n)[:, None, None, None]


def encoder(images: int = 2, batch_norm: bool = True, dense: bool = False) -> Encoder:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 12, 2), nn.BatchNorm2d(12), nn.GELU()]
    body = toy.Pooled()
    body.layers = nn.Sequential(*(layer for layer in layers if batch_norm or not isinstance(layer, nn.BatchNorm2d)))
    made = Encoder(Backbone(body, 12), mlp(12, 16, 8, 2, bias=True), dense=dense_mlp(12, 16, 8) if dense else None)
    if not batch_norm:
        toy.without_batch_norm(made)
        return made.double()
    return in_groups(made.double(), images)


def view(n: int = 8) -> Tensor:
    return torch.randn(n, 3, 4, 4, dtype=torch.float64) + torch.arange(n)[:, None, None, None]


class TestGroups:
    def test_each_is_normalised_by_itself_with_its_gradients(self) -> None:
        ours, whole = norm()
        x = maps().requires_grad_()
        theirs = x.detach().clone().requires_grad_()
        weights = torch.randn(9, 4, 5, 5, dtype=torch.float64)
        (ours(x) * weights).sum().backward()
        copies = [copy.deepcopy(whole) for _ in range(3)]
        made = torch.cat([bn(theirs[3 * g : 3 * g + 3]) for g, bn in enumerate(copies)])
        (made * weights).sum().backward()
        torch.testing.assert_close(ours(x), made, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(x.grad, theirs.grad, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.weight.grad, sum(bn.weight.grad for bn in copies), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(ours.bias.grad, sum(bn.bias.grad for bn in copies), rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("momentum", [0.1, None])
    def test_running_statistics_are_the_mean_of_the_groups(self, momentum: float | None) -> None:
        ours, whole = norm(momentum=momentum)
        copies = [copy.deepcopy(whole) for _ in range(3)]
        for _ in range(2):  # the second move is from where the first has led
            x = maps()
            ours(x)
            for g, bn in enumerate(copies):
                bn(x[3 * g : 3 * g + 3])
            together = {
                n: torch.stack([bn.state_dict()[n] for bn in copies]).double().mean(0) for n in ours.state_dict()
            }
            for bn in copies:
                bn.load_state_dict(together)
        for name, value in together.items():
            torch.testing.assert_close(ours.state_dict()[name].double(), value, rtol=1e-12, atol=1e-12)
        assert ours.num_batches_tracked == 2

    def test_in_evaluation_nothing_is_different(self) -> None:
        ours, whole = norm()
        x = maps()
        assert torch.equal(ours.eval()(x), whole.eval()(x))

    def test_a_batch_of_one_group_is_normalised_as_ever(self) -> None:
        ours, whole = norm(9)
        x = maps()
        assert torch.equal(ours(x), whole(x))
        assert torch.equal(ours.running_mean, whole.running_mean)

    def test_without_statistics_none_are_kept(self) -> None:
        ours, _ = norm(track_running_stats=False)
        groups = ours(maps()).split(3)
        assert ours.running_mean is None
        for group in groups:  # each has the mean and deviation of the gain alone
            torch.testing.assert_close(group.mean((0, 2, 3)), ours.bias.detach(), rtol=1e-9, atol=1e-9)

    def test_names_and_values_stay(self) -> None:
        ours, whole = norm()
        assert type(ours) is GhostBatchNorm2d and ours.state_dict().keys() == whole.state_dict().keys()
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in ours.state_dict().items())
        assert (ours.eps, ours.momentum, ours.affine) == (whole.eps, whole.momentum, whole.affine)

    def test_the_teacher_is_in_groups_too_and_follows(self) -> None:
        student = encoder()
        teacher = make_teacher(student)
        assert type(teacher.backbone.body.layers[1]) is GhostBatchNorm2d
        before = teacher.backbone.body.layers[1].running_mean.clone()
        with unrecorded(teacher):
            teacher(view())
        assert torch.equal(teacher.backbone.body.layers[1].running_mean, before)
        teacher(view())
        assert not torch.equal(teacher.backbone.body.layers[1].running_mean, before)
        ours, theirs = teacher.backbone.body.layers[1], student.backbone.body.layers[1]
        theirs.weight.data.fill_(2.0)
        move_teacher(teacher, student, 0.9)
        torch.testing.assert_close(ours.weight, torch.full_like(ours.weight, 1.1))

    def test_a_layer_in_two_places_stays_one(self) -> None:
        shared = nn.BatchNorm2d(4)
        seen: list[int] = []
        shared.register_forward_hook(lambda layer, given, out: seen.append(len(out)))
        network = in_groups(nn.Sequential(shared, nn.Conv2d(4, 4, 1), shared), 3).double()
        assert network[0] is network[2] is shared and type(shared) is GhostBatchNorm2d
        network(maps())
        assert seen == [9, 9] and shared.num_batches_tracked == 2

    def test_a_network_that_is_one_layer(self) -> None:
        assert type(in_groups(nn.BatchNorm2d(4), 3)) is GhostBatchNorm2d

    def test_what_is_no_whole_group_is_refused(self) -> None:
        ours, _ = norm()
        with pytest.raises(ValueError, match="groups of 3 images got 10"):
            ours(maps(10))
        assert len(ours(maps(2))) == 2  # less than a group
        assert len(ours.eval()(maps(10))) == 10

    def test_two_passes_before_one_backward(self) -> None:
        ours, _ = norm()
        (ours(maps(2)).sum() + ours(maps(9)).square().sum()).backward()
        assert torch.isfinite(ours.weight.grad).all()

    @pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
    def test_half_precision_keeps_its_kind_and_its_way_in_memory(self, precision: torch.dtype) -> None:
        ours = norm()[0].float()
        x = maps().to(precision).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=precision):
            made = ours(x)
        assert made.dtype == precision and made.is_contiguous(memory_format=torch.channels_last)
        assert ours.running_mean.dtype == torch.float32

    def test_and_back(self) -> None:
        ours, whole = norm()
        network = nn.Sequential(ours)
        assert [layer is ours for layer in ghosts(network)] == [True]
        assert as_ever(network)[0] is ours and type(ours) is nn.BatchNorm2d and ghosts(network) == []
        x = maps(10)
        assert torch.equal(ours(x), whole(x))

    def test_none_are_made_of_nought(self) -> None:
        network = nn.Sequential(nn.BatchNorm1d(3))
        assert in_groups(network, 0) is network and type(network[0]) is nn.BatchNorm1d

    @pytest.mark.parametrize(
        ("network", "images", "words"),
        [
            (nn.Sequential(nn.BatchNorm1d(3)), 1, "at least 2"),
            (nn.Sequential(nn.BatchNorm1d(3)), -4, "at least 2"),
            (nn.Sequential(nn.LayerNorm(3)), 4, "no BatchNorm"),
            (nn.Sequential(nn.BatchNorm3d(3)), 4, "BatchNorm3d"),
            (nn.Sequential(nn.SyncBatchNorm(3)), 4, "SyncBatchNorm"),
        ],
    )
    def test_what_cannot_be_is_refused(self, network: nn.Module, images: int, words: str) -> None:
        with pytest.raises(ValueError, match=words):
            in_groups(network, images)


class TestShuffled:
    @pytest.mark.parametrize("dense", [False, True])
    def test_every_image_gets_its_own_answer(self, dense: bool) -> None:
        network, x = encoder(batch_norm=False, dense=dense), view()
        plain, ours = network(x), shuffled(network, x, 2)
        torch.testing.assert_close(ours.h, plain.h, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(ours.z, plain.z, rtol=1e-12, atol=1e-12)
        assert not ours.h.requires_grad
        if dense:
            torch.testing.assert_close(ours.places.h, plain.places.h, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(ours.places.z, plain.places.z, rtol=1e-12, atol=1e-12)

    def test_groups_are_drawn_anew_by_the_generator(self) -> None:
        network, x = encoder(), view()
        torch.manual_seed(5)
        first, second = shuffled(network, x, 2), shuffled(network, x, 2)
        assert not torch.equal(first.h, second.h)
        torch.manual_seed(5)
        order = torch.randperm(8)
        for number in range(4):
            group = order[2 * number : 2 * number + 2]
            torch.testing.assert_close(first.h[group], network(x[group]).h, rtol=1e-12, atol=1e-12)
        torch.manual_seed(5)
        assert torch.equal(shuffled(network, x, 2).h, first.h)

    def test_images_keep_their_way_in_memory(self) -> None:
        seen = []

        class Looking(nn.Module):
            def forward(self, x: Tensor) -> Any:
                seen.append(x.is_contiguous(memory_format=torch.channels_last))
                return encoder(batch_norm=False)(x)

        shuffled(Looking(), view().contiguous(memory_format=torch.channels_last), 2)
        shuffled(Looking(), view(), 2)
        assert seen == [True, False]

    @pytest.mark.parametrize(("images", "training"), [(0, True), (2, False)])
    def test_nothing_is_drawn_where_nothing_is_shuffled(self, images: int, training: bool) -> None:
        network, x = encoder().train(training), view()
        before = torch.get_rng_state()
        ours = shuffled(network, x, images)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(ours.h, network(x).h)
