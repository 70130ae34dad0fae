"""Pictures for a report: the views a run trains on, nearest neighbours before and after, and a map of the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from resmom.config import Run
from resmom.data.source import Data, Source
from resmom.evaluate.features import features
from resmom.report.contents import Picture, Point, Query, RunPictures, ViewRow
from resmom.report.embedding import apart, places
from resmom.report.thumbnails import data_uri
from resmom.runs.clean import clean_batches, thinned
from resmom.runs.loaded import Loaded, load_start
from resmom.views.apply import plain, views
from resmom.views.policy import Policy

SHOWN = 6
"""Images whose views are shown."""
DRAWS = 3
"""Epochs whose views are shown."""
QUERIES = 8
NEIGHBOURS = 6
BANK = 1200
"""Images that are searched for neighbours: every one goes through two networks."""
MAPPED = 400


@dataclass(frozen=True)
class Drawn:
    """Images drawn at random: to search in, and to ask about (the test split's where there is one)."""

    bank: Source
    queries: Source
    same: bool
    """Whether the queries are the first images of the bank, so that each would find itself."""


def view_rows(run: Run, source: Source) -> tuple[ViewRow, ...]:
    """Some images of a source and their views in the first epochs, those of training but always at full size."""
    index = some_images(source)
    images = source.read(index)
    policy, seed = run.policy, run.train.seed
    draws = [views(images, index, policy, seed, epoch) for epoch in range(DRAWS)]
    rows = []
    for n, number in enumerate(index):
        name = f"image {number}"
        row = tuple(
            tuple(_picture(view[n], policy, f"{name}, epoch {epoch}, view {v + 1}") for v, view in enumerate(draw))
            for epoch, draw in enumerate(draws)
        )
        original = images[n].permute(1, 2, 0).numpy()
        rows.append(ViewRow(Picture(data_uri(original), name), row))
    return tuple(rows)


def some_images(source: Source) -> NDArray[np.int64]:
    """The numbers of the images whose views are shown, in rising order, the same whenever they are asked for."""
    return np.sort(np.random.default_rng(0).permutation(len(source))[:SHOWN])


def draw_images(data: Data) -> Drawn:
    """The same images for every run on these data, drawn with seed 0."""
    order = np.random.default_rng(0).permutation(len(data.train))[:BANK]
    bank = data.train.subset(order)
    if data.test is None:
        return Drawn(bank, bank.subset(np.arange(min(QUERIES, len(bank)))), True)
    return Drawn(bank, thinned(data.test, QUERIES), False)


def run_pictures(loaded: Loaded, drawn: Drawn) -> RunPictures:
    """Neighbours by the start weights and by the trained student, and the map of the student's representation."""
    policy = loaded.run.policy
    after = _neighbours(loaded, loaded.method.student, drawn)
    start = load_start(loaded)
    before = None if start is None else _neighbours(loaded, start, drawn).nearest
    asked = _pictures(drawn.queries, np.arange(len(drawn.queries)), policy)
    queries = tuple(
        Query(
            picture,
            None if before is None else _pictures(drawn.bank, before[n], policy),
            _pictures(drawn.bank, after.nearest[n], policy),
        )
        for n, picture in enumerate(asked)
    )
    points, no_map = _map(drawn.bank, after.bank[:MAPPED], policy)
    return RunPictures(queries, len(drawn.bank), points, no_map, _classes(drawn.bank))


@dataclass(frozen=True)
class _Found:
    bank: Float[Tensor, "n d"]
    nearest: NDArray[np.int64]


def _neighbours(loaded: Loaded, network: nn.Module, drawn: Drawn) -> _Found:
    """The representation of the bank, and for each query the numbers of its nearest images in it, the nearest first."""
    bank = features(network, clean_batches(drawn.bank, loaded.run.policy, loaded.device))
    queries = features(network, clean_batches(drawn.queries, loaded.run.policy, loaded.device))
    similarity = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    similarity = similarity.nan_to_num(nan=-2.0)
    if drawn.same:
        similarity.fill_diagonal_(-3.0)
    most = min(NEIGHBOURS, len(bank) - int(drawn.same))
    # Equally near ones in the order of the bank, so that a collapsed network gives the same page on every machine.
    nearest: NDArray[np.int64] = similarity.argsort(dim=1, descending=True, stable=True)[:, :most].numpy()
    return _Found(bank, nearest)


def _map(bank: Source, h: Float[Tensor, "n d"], policy: Policy) -> tuple[tuple[Point, ...], str]:
    try:
        found = places(h.numpy())
    except ValueError as error:  # too few images, or a collapsed network; the reason is what the page says
        return (), str(error)
    pictures = _pictures(bank, np.arange(len(h)), policy)
    cells = apart(found).tolist()
    return tuple(Point(column, row, picture) for (column, row), picture in zip(cells, pictures, strict=True)), ""


def _pictures(source: Source, index: NDArray[np.int64], policy: Policy) -> tuple[Picture, ...]:
    """Images as an evaluation shows them to the network, with their classes."""
    if len(index) == 0:
        return ()
    view = policy.views[0]
    clean = plain(source.read(index), view.size, policy.mean, policy.std, resize=view.interpolation)
    return tuple(
        _picture(pixels, policy, *_label(source, number)) for pixels, number in zip(clean, index.tolist(), strict=True)
    )


def _label(source: Source, number: int) -> tuple[str, int | None]:
    if source.labels is None or source.labels[number] < 0:
        return "an image", None
    label = int(source.labels[number])
    return f"an image of class {source.classes[label]}", label


def _classes(source: Source) -> tuple[str, ...]:
    return () if source.labels is None or (source.labels < 0).all() else source.classes


def _picture(normalised: Float[Tensor, "c h w"], policy: Policy, words: str, label: int | None = None) -> Picture:
    return Picture(data_uri(pixels_of(normalised, policy).permute(1, 2, 0).contiguous().numpy()), words, label)


def pixels_of(normalised: Float[Tensor, "c h w"], policy: Policy) -> UInt8[Tensor, "c h w"]:
    """The pixels of a view, as of an image."""
    mean, std = _column(policy.mean), _column(policy.std)
    return (normalised.cpu() * std + mean).clamp(0, 1).mul(255).round().to(torch.uint8)


def _column(values: Sequence[float]) -> Float[Tensor, "c 1 1"]:
    return torch.tensor(values)[:, None, None]
