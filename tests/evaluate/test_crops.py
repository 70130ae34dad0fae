"""Labelled images whose files break: what stands in for them is neither learnt from nor scored."""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F

from resmom.data.source import ArraySource, Images, Index, Source
from resmom.evaluate.crops import Crops, labelled_rows, light, loss
from resmom.evaluate.settings import Finetune
from tests.evaluate.test_finetune import TRAIN, small, tune
from tests.evaluate.test_linearcrop import POLICY, Kept, LinearCrop, even, probe


class Breaking(Source):
    """Images some of which cannot be read; that is found when they are, and the image before stands in."""

    def __init__(self, whole: ArraySource, broken: tuple[int, ...]) -> None:
        self.whole, self.broken, self.found = whole, broken, set[int]()
        self.name, self.labels, self.classes = whole.name, whole.labels, whole.classes
        self.sizes, self.channels = whole.sizes, whole.channels

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, index: Index) -> Images:
        bad = np.isin(index, self.broken)
        self.found |= set(index[bad].tolist())
        return self.whole.read(np.where(bad, index - 1, index))

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        return [(str(at), "cut short") for at in sorted(self.found)]

    @property
    def failed(self) -> Index:
        return np.array(sorted(self.found), dtype=np.int64)

    def fingerprint(self) -> str:
        return self.whole.fingerprint()


def breaking(whole: ArraySource, *broken: int) -> ArraySource:
    return cast(ArraySource, Breaking(whole, broken))


def test_a_stand_in_has_no_label_and_does_not_count() -> None:
    source = breaking(even(12, 0), 4, 7)
    rows, classes = labelled_rows(source, even(6, 1), "this")
    crops = Crops(source, rows, 4, light(POLICY), 0, torch.device("cpu"), whole=True)
    labels = torch.cat([crops.batch(step)[1] for step in range(3)])
    assert (len(rows), classes, crops.missed, int((labels < 0).sum())) == (12, 3, 2, 2)
    votes = torch.randn(12, 3)
    assert torch.equal(loss(votes, labels), F.cross_entropy(votes[labels >= 0], labels[labels >= 0]))
    assert loss(votes, torch.full((12,), -1)) == 0  # and no number that is none
    assert len(labelled_rows(source, even(6, 1), "this")[0]) == 12  # whether they were read before or not


def test_the_probe_neither_learns_from_them_nor_scores_them_and_restarts_exactly() -> None:
    config, broken = LinearCrop(epochs=3, batch=1, lr=1.0), (4, 7, 8)  # batches of a stand-in alone
    whole, parts = Kept(), Kept(dies=1)
    score = probe(config, train=breaking(even(50, 0), *broken), memory=whole, test=breaking(even(30, 1), 3))
    assert "trained on 47, tested on 29," in score.protocol
    try:
        probe(config, train=breaking(even(50, 0), *broken), memory=parts)
    except KeyboardInterrupt:
        again = Kept(parts.state)
    for _ in range(2):  # the second time nothing is read any more
        assert probe(config, train=breaking(even(50, 0), *broken), memory=again, test=breaking(even(30, 1), 3)) == score
    assert whole.state is not None and again.state is not None
    assert torch.equal(whole.state["head"]["weight"], again.state["head"]["weight"])
    mislabelled = even(50, 0)
    assert mislabelled.labels is not None
    mislabelled.labels[list(broken)] = 0  # whatever the label of a broken file, nothing learns from it
    other = Kept()
    probe(config, train=breaking(mislabelled, *broken), memory=other)
    assert other.state is not None and torch.equal(whole.state["head"]["weight"], other.state["head"]["weight"])


def test_nor_does_fine_tuning() -> None:
    config, few = Finetune(epochs=1, warmup_epochs=0.5), even(48, 0)  # three whole batches
    train, test = breaking(few, 4, 7), breaking(even(30, 1), 3, 6)
    assert "trained on 46, tested on 28," in tune(small(), config, train, test).protocol
    assert f"trained on {len(TRAIN)}, tested on 30," in tune(small(), config, TRAIN, even(30, 1)).protocol
