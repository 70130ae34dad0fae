"""Average precision against pycocotools, against slow loops from the VOC development kit's text, and by hand."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from resmom.data.annotations.runlength import encoded, mask_overlaps
from resmom.evaluate.average_precision import THRESHOLDS, Found, Truth, coco, overlaps, voc07


def truth(boxes: list[list[float]], labels: list[int] | None = None, ignore: list[bool] | None = None) -> Truth:
    n = len(boxes)
    flags = np.array(ignore or [False] * n, dtype=bool)
    return Truth(np.array(boxes, float).reshape(-1, 4), np.array(labels or [0] * n, int), flags, np.zeros(n, bool))


def found(boxes: list[list[float]], scores: list[float], labels: list[int] | None = None) -> Found:
    return Found(np.array(boxes, float).reshape(-1, 4), np.array(scores), np.array(labels or [0] * len(boxes), int))


BOX = [0.0, 0.0, 10.0, 10.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def test_overlap_by_hand() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 30]])
    got = overlaps(boxes, boxes, np.array([False, False, False]))
    np.testing.assert_allclose(got, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]], atol=1e-15)
    crowd = overlaps(boxes[:2], np.array([[5.0, 0, 100, 100]]), np.array([True]))
    np.testing.assert_allclose(crowd[:, 0], [0.5, 1])


@pytest.mark.parametrize("score", [coco, voc07])
def test_by_hand(score) -> None:  # type: ignore[no-untyped-def]
    """Two objects, the first detection right, the second wrong: precision 1 up to recall .5, then nothing."""
    assert score([found([BOX], [0.9])], [truth([BOX])], 1).ap == 100
    assert score([found([], [])], [truth([BOX])], 1).ap == 0
    half = score([found([BOX, [20, 0, 30, 10]], [0.9, 0.8])], [truth([BOX, FAR])], 1)
    assert half.ap == pytest.approx(100 * (51 / 101 if score is coco else 6 / 11), abs=1e-12)
    # The wrong one first: precision 1/2 up to recall .5.
    late = score([found([BOX, [20, 0, 30, 10]], [0.8, 0.9])], [truth([BOX, FAR])], 1)
    assert late.ap == pytest.approx(half.ap / 2, abs=1e-12)
    # 10 x 8 of 10 x 10: right at .5 … .75 and (COCO: reaching it is enough) .8.
    small = score([found([[0, 0, 10, 8]], [0.5])], [truth([BOX])], 1)
    assert small.at(0.5) == small.at(0.75) == 100 and small.at(0.85) == 0
    assert small.ap == pytest.approx(70.0 if score is coco else 60.0)


@pytest.mark.parametrize("score", [coco, voc07])
def test_what_does_not_count(score) -> None:  # type: ignore[no-untyped-def]
    difficult = truth([BOX, FAR], ignore=[False, True])
    assert score([found([BOX], [0.5])], [difficult], 1).ap == 100  # missing it costs nothing
    assert score([found([BOX, FAR], [0.5, 0.9])], [difficult], 1).ap == 100  # nor does finding it
    none = score([found([FAR], [0.9])], [truth([FAR], ignore=[True])], 1)
    assert np.isnan(none.ap) and np.isnan(none.per_class[0])
    # A class without objects is left out of the mean; detections of it cost nothing there.
    two = score([found([BOX, BOX], [0.9, 0.9], [0, 1])], [truth([BOX])], 2)
    assert two.ap == 100 and np.isnan(two.per_class[1])


def test_a_taken_object_in_both_scores() -> None:
    """The second detection overlaps the taken object most, a free one enough: right for COCO, wrong for VOC."""
    objects = truth([[0, 0, 10, 10], [2, 0, 12, 10]])
    said = found([[0, 0, 10, 10], [0.5, 0, 10.5, 10]], [0.9, 0.8])
    assert coco([said], [objects], 1).at(0.5) == 100
    assert voc07([said], [objects], 1).at(0.5) == pytest.approx(100 * 6 / 11)


def test_an_object_inside_of_a_crowd_is_found() -> None:
    """The crowd's overlap is 1 for all that lies inside of it, and is no reason to miss the object there."""
    there = truth([BOX, [0, 0, 60, 60]])
    there = replace(there, crowd=np.array([False, True]))
    said = found([[0, 0, 10, 9], [30, 30, 40, 40], [0, 0, 10, 8]], [0.9, 0.8, 0.7])
    for score in (coco, voc07):
        assert score([said], [there], 1).at(0.5) == 100
    assert voc07([said], [truth([BOX])], 1).at(0.5) == 100  # what comes after full recall costs nothing
    late = found([[30, 30, 40, 40], [0, 0, 10, 9]], [0.9, 0.8])
    assert voc07([late], [there], 1).at(0.5) == 100 and voc07([late], [truth([BOX])], 1).at(0.5) == pytest.approx(50)


def test_recall_of_three_tenths_is_reached() -> None:
    objects = [[20.0 * n, 0, 20.0 * n + 10, 10] for n in range(10)]
    got = voc07([found(objects[:3], [0.9, 0.8, 0.7])], [truth(objects)], 1)
    assert got.at(0.5) == pytest.approx(100 * 4 / 11)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="detections of 0 images, objects of 1"):
        coco([], [truth([BOX])], 1)
    with pytest.raises(ValueError, match="not finite"):
        coco([found([BOX], [float("nan")])], [truth([BOX])], 1)


def scene(seed: int, images: int = 12, classes: int = 3) -> tuple[list[Found], list[Truth]]:
    """Random objects, and detections near them and elsewhere; some classes ignored, some crowds, ties in score."""
    rng = np.random.default_rng(seed)
    said, there = [], []
    for image in range(images):
        n = int(rng.integers(0, 7)) if image else 3
        corner = rng.uniform(0, 60, (n, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (n, 2))], axis=1)
        labels = rng.integers(0, classes, n)
        kind = rng.uniform(size=n)
        there.append(Truth(boxes, labels, kind < 0.15, kind > 0.9))
        copies = rng.integers(0, 4, n)
        near = np.repeat(boxes, copies, axis=0) + rng.normal(0, 2.5, (copies.sum(), 4))
        far = rng.uniform(0, 60, (int(rng.integers(0, 130 if image == 1 else 10)), 2))
        all_ = np.concatenate([near, np.concatenate([far, far + rng.uniform(5, 40, far.shape)], axis=1)])
        all_[:, 2:] = np.maximum(all_[:, 2:], all_[:, :2] + 1)
        guessed = np.concatenate([np.repeat(labels, copies), rng.integers(0, classes, len(far))])
        if image == 1:
            guessed[:] = 0  # more than 100 of one class
        said.append(Found(all_, np.round(rng.uniform(size=len(all_)), 2), guessed))
    return said, there


@pytest.mark.parametrize("seed", range(6))
def test_coco_is_that_of_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    said, there = scene(seed)

    def xywh(box: np.ndarray) -> list[float]:
        return [*box[:2], *(box[2:] - box[:2])]

    # pycocotools knows no `ignore` but by size: an area beyond the range of "all".
    annotations = [
        {"image_id": i, "category_id": int(t.labels[k]), "bbox": xywh(t.boxes[k]), "iscrowd": int(t.crowd[k])}
        | {"area": 1e11 if t.ignore[k] else 1.0}
        for i, t in enumerate(there)
        for k in range(len(t.labels))
    ]
    results = [
        {"image_id": i, "category_id": int(f.labels[k]), "bbox": xywh(f.boxes[k]), "score": float(f.scores[k])}
        for i, f in enumerate(said)
        for k in range(len(f.labels))
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(there))],
            "annotations": [{"id": n + 1, **one} for n, one in enumerate(annotations)],
            "categories": [{"id": c} for c in range(3)],
        }
        dataset.createIndex()
        reference = COCOeval(dataset, dataset.loadRes(results), "bbox")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    got = coco(said, there, 3)
    assert got.ap > 5
    np.testing.assert_allclose([got.ap, got.at(0.5), got.at(0.75)], 100 * reference.stats[:3], rtol=0, atol=1e-9)
    full = reference.eval["precision"][:, :, :, 0, 2]
    np.testing.assert_allclose(got.table, 100 * full.mean(1), rtol=0, atol=1e-9)


def silhouettes(boxes: np.ndarray, seed: int) -> list[bytes]:
    """Ellipses in boxes, each shifted a little, on an image of 110 x 110."""
    rows, columns = np.mgrid[:110, :110] + 0.5
    shift = np.random.default_rng(seed).normal(0, 1.5, (len(boxes), 2))
    masks = [
        ((columns - (x1 + x2) / 2 - dx) / (x2 - x1)) ** 2 + ((rows - (y1 + y2) / 2 - dy) / (y2 - y1)) ** 2 <= 0.25
        for (x1, y1, x2, y2), (dx, dy) in zip(boxes, shift, strict=True)
    ]
    return encoded(np.array(masks, dtype=np.uint8).reshape(-1, 110, 110)) if len(masks) else []


@pytest.mark.parametrize("seed", range(4))
def test_coco_of_masks_is_that_of_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    said, there = scene(seed)
    found = [silhouettes(f.boxes, 100 * seed + i) for i, f in enumerate(said)]
    true = [silhouettes(t.boxes, 100 * seed + 50 + i) for i, t in enumerate(there)]
    said = [replace(f, masks=tuple(masks)) for f, masks in zip(said, found, strict=True)]

    def shown(counts: bytes) -> dict[str, object]:
        return {"size": [110, 110], "counts": counts}

    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = {
            "info": {},
            "images": [{"id": i, "height": 110, "width": 110} for i in range(len(there))],
            "annotations": [
                {"id": 1000 * i + k + 1, "image_id": i, "category_id": int(t.labels[k]), "segmentation": shown(mask)}
                | {"iscrowd": int(t.crowd[k]), "area": 1e11 if t.ignore[k] else 1.0}
                for i, (t, masks) in enumerate(zip(there, true, strict=True))
                for k, mask in enumerate(masks)
            ],
            "categories": [{"id": c} for c in range(3)],
        }
        dataset.createIndex()
        results = [
            {"image_id": i, "category_id": int(f.labels[k]), "segmentation": shown(mask), "score": float(f.scores[k])}
            for i, (f, masks) in enumerate(zip(said, found, strict=True))
            for k, mask in enumerate(masks)
        ]
        reference = COCOeval(dataset, dataset.loadRes(results), "segm")
        reference.evaluate()
        reference.accumulate()
        reference.summarize()
    over = [
        mask_overlaps(masks, others, t.crowd, (110, 110)) for masks, others, t in zip(found, true, there, strict=True)
    ]
    got = coco(said, there, 3, over)
    assert got.ap > 3 and abs(got.ap - coco(said, there, 3).ap) > 0.1
    np.testing.assert_allclose([got.ap, got.at(0.5), got.at(0.75)], 100 * reference.stats[:3], rtol=0, atol=1e-9)
    full = reference.eval["precision"][:, :, :, 0, 2]
    np.testing.assert_allclose(got.table, 100 * full.mean(1), rtol=0, atol=1e-9)


def voc_slow(said: list[Found], there: list[Truth], label: int, threshold: float) -> float:
    """The development kit's procedure, one detection after the other."""
    rows = [(f.scores[k], i, f.boxes[k]) for i, f in enumerate(said) for k in _top(f, label)]
    rows.sort(key=lambda row: -row[0])
    taken: set[tuple[int, int]] = set()
    hits = wrong = 0
    curve = []
    total = sum(int(((t.labels == label) & ~t.ignore & ~t.crowd).sum()) for t in there)
    for _, i, box in rows:
        best, at, crowded = 0.0, -1, False
        for k in np.flatnonzero(there[i].labels == label):
            value = overlaps(box[None], there[i].boxes[[k]], there[i].crowd[[k]])[0, 0]
            if there[i].crowd[k]:
                crowded |= value > threshold
            elif value > best:
                best, at = value, int(k)
        if best > threshold and there[i].ignore[at]:
            continue
        if best > threshold and (i, at) not in taken:
            taken.add((i, at))
            hits += 1
        elif crowded:
            continue
        else:
            wrong += 1
        curve.append((hits / total, hits / (hits + wrong)))
    return 100 * sum(max((p for r, p in curve if r >= tenth / 10), default=0.0) for tenth in range(11)) / 11


def _top(f: Found, label: int) -> list[int]:
    mine = [k for k in range(len(f.labels)) if f.labels[k] == label]
    return sorted(mine, key=lambda k: -f.scores[k])[:100]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_voc07_is_that_of_the_development_kit(seed: int) -> None:
    said, there = scene(seed)
    got = voc07(said, there, 3).table
    slow = [[voc_slow(said, there, label, threshold) for label in range(3)] for threshold in THRESHOLDS]
    np.testing.assert_allclose(got, slow, rtol=0, atol=1e-9)
