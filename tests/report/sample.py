"""Runs that were never run: records with the lines that a real one has."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from resmom.diagnose.rules import Finding
from resmom.report.contents import (
    BoxPhoto,
    Contents,
    DetectionRecord,
    Line,
    Mark,
    Mask,
    MaskPhoto,
    Measure,
    Part,
    Picture,
    Point,
    Query,
    RunPictures,
    RunRecord,
    SegmentationRecord,
    Start,
    TunedNetwork,
    ViewRow,
    ViewSheet,
)
from resmom.report.thumbnails import data_uri, mask_uri


def uri(number: int) -> str:
    """A small picture of noise, for every number another one."""
    return data_uri(np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8))


KNN = "knn-v1 k=20 T=0.07 cosine, bank 100, queries 20, train/ and test/ folders"


def train_line(step: int, **more: float) -> Line:
    """A line of training, 10 steps to an epoch."""
    return {
        "kind": "train",
        "step": step,
        "epoch": step / 10,
        "loss": 4 * math.exp(-step / 50),
        "loss/method": 4 * math.exp(-step / 50),
        "loss/chance": 3.3,
        "gap/h/intra": 0.01,
        "gap/h/inter": 0.1,
        "gap/h/chance": 0.3,
        "grad_norm": 1 + step % 3,
        "lr": 0.1,
        "momentum": 0.99,
        "images_per_second": 500.0,
        **more,
    }


def knn_line(step: int, student: float, teacher: float) -> Line:
    """A kNN line."""
    return {"kind": "knn", "step": step, "epoch": step / 10, "student": student, "teacher": teacher, "protocol": KNN}


def health_line(step: int) -> Line:
    """A health line, as far as the page reads it."""
    networks = {
        f"{network}/{name}": 1.0 + step
        for network in ("student", "teacher")
        for name in ("rankme", "feature_sd", "retrieval")
    }
    gaps = {"gap/h/intra": 0.02, "gap/h/inter": 0.1, "gap/h/chance": 0.25}
    return {"kind": "health", "step": step, "epoch": step / 10, "protocol": "health-v1", **networks, **gaps}


def evaluation(network: str, protocol: str, top1: float, step: int) -> Line:
    """A line of evaluations.jsonl."""
    return {"network": network, "protocol": protocol, "top1": top1, "step": step}


def run(name: str = "run", seed: int = 0, weight: float = 0.0, student: float = 50.0, **more: Any) -> RunRecord:
    """A finished run of 100 steps whose student reached that kNN accuracy, its teacher two points more."""
    lines = [
        knn_line(0, 10.0, 10.0),
        health_line(0),
        *(train_line(step) for step in range(1, 101)),
        knn_line(100, student, student + 2),
        health_line(100),
    ]
    values: dict[str, Any] = {
        "name": name,
        "config": {"data": "digits", "residual.weight": weight, "optim.lr": 0.3},
        "seed": seed,
        "data": [("data", "digits"), ("images", "100")],
        "settings": [("recipe", "mocov3_digits"), ("method", "MoCoV3")],
        "choices": [],
        "starts": [
            Start("2026-01-01 12:00:00 UTC", "a processor", "0.1.0, commit abc", "Python 3.11", "resmom pretrain")
        ],
        "step": 100,
        "steps": 100,
        "seconds": 60.0,
        "lines": lines,
        "evaluations": [],
        "measures": [Measure("kNN top-1 (%)", 10.0, student, student + 2, "higher", KNN)],
        "findings": [],
    }
    return RunRecord(**(values | more))


def pictures(labels: bool = True, before: bool = True) -> RunPictures:
    """Two queries with three neighbours each and a map of four images, every picture another one."""

    def picture(number: int, label: int) -> Picture:
        return Picture(uri(number), f"image {number}", label if labels else None)

    queries = tuple(
        Query(
            picture(10 * n, n),
            tuple(picture(10 * n + k, 0) for k in (1, 2, 3)) if before else None,
            tuple(picture(10 * n + k, n) for k in (4, 5, 6)),
        )
        for n in (0, 1)
    )
    points = tuple(Point(n, n, picture(30 + n, n % 2)) for n in range(4))
    return RunPictures(queries, 40, points, "", ("cats", "dogs") if labels else ())


def sheet(*runs: str) -> ViewSheet:
    """One image and its two views in two draws."""
    draws = tuple(tuple(Picture(uri(50 + 2 * d + v), f"view {d} {v}") for v in (0, 1)) for d in (0, 1))
    return ViewSheet(runs, (ViewRow(Picture(uri(60), "original"), draws),))


def contents(*runs: RunRecord, images: bool = False, sheets: tuple[ViewSheet, ...] = ()) -> Contents:
    """These runs, made by nobody in particular."""
    return Contents(runs or (run(),), sheets, "Made by resmom on a day", images)


def detection_line(step: int, ap: float, **more: Any) -> Line:
    """One measurement of a detector of two classes."""
    scores = {f"{kind}ap{at}": ap for kind in ("", "voc07_") for at in ("", "50", "75")}
    about = {"kind": "detection", "step": step, "epoch": step / 10, "protocol": "detect-v1 toy"}
    per_class = {"per_class": {"cat": ap, "dog": ap / 2}, "voc07_ap50_per_class": {"cat": 3 * ap, "dog": 2 * ap}}
    return {**about, **scores, **per_class, **more}


def detection(name: str = "det", networks: tuple[str, ...] = ("student", "teacher", "random"), classes: int = 2,
              photos: bool = True, masks: bool = False) -> DetectionRecord:  # fmt: skip
    """A folder of detectors: 100 steps, each backbone a point better than the last; two photos."""
    found, measured = [], {}
    for n, network in enumerate(networks):
        per = {"per_class": {f"class {c}": 10.0 + n + c for c in range(classes)}} if classes != 2 else {}
        lines = [{"kind": "train", "step": s, "epoch": s / 10, "loss": 2 - s / 100} for s in range(0, 101, 10)]
        lines += [dict(detection_line(step, step / 10 + n, **per)) for step in (50, 100)]
        found.append(TunedNetwork(network, f"{network} of run at step 10", 100, lines, 0.4 if photos else None))
        measured[network] = lines[-1]
    marks = (
        Mark("found", (0.1, 0.1, 0.3, 0.5), "cat"), Mark("missed", (0.5, 0.6, 0.4, 0.4), "dog"),
        Mark("void", (0.8, 0.0, 0.2, 0.1), "dog, difficult"), Mark("right", (0.12, 0.1, 0.3, 0.5), "cat .93"),
        Mark("wrong", (0.6, 0.02, 0.4, 0.3), "dog .51"),
    )  # fmt: skip
    if masks:
        marks = tuple(replace(mark, outline="M100 100l300 0 0 400-300 0z") for mark in marks)
    shown = [
        BoxPhoto(Picture(uri(80 + n), f"test photo {n + 1}"), ratio, (marks,) * len(networks))
        for n, ratio in enumerate((1.5, 0.7))
    ]
    return DetectionRecord(
        name, [("recipe", "detect_small")], 100, found, {"detect-v1 toy": measured},
        [Start("2026-01-01", "a processor", "0.1.0", "Python", "resmom detect train")], shown if photos else (),
    )  # fmt: skip


def segmentation(name: str = "seg", networks: tuple[str, ...] = ("student", "teacher", "random"), classes: int = 3,
                 photos: bool = True) -> SegmentationRecord:  # fmt: skip
    """A folder of segmentation networks: 100 steps, each backbone a point better than the last; two photos, one of
    which has void pixels. The last class is neither there nor said."""
    names = [f"class {c}" for c in range(classes)]
    found, measured = [], {}
    for n, network in enumerate(networks):
        lines: list[Line] = [
            {"kind": "train", "step": s, "epoch": s / 10, "loss": 2 - s / 100} for s in range(0, 101, 10)
        ]
        for step in (50, 100):
            scores = {"miou": step / 4 + n, "pixel_accuracy": step / 2 + n, "left_out": names[-1:]}
            per = {"per_class": {each: step / 4 + n - c for c, each in enumerate(names[:-1])}}
            about = {"kind": "segmentation", "step": step, "epoch": step / 10, "protocol": "segment-v1 toy"}
            lines.append({**about, **scores, **per})
        found.append(TunedNetwork(network, f"{network} of run at step 10", 100, lines))
        measured[network] = lines[-1]
    shown = [_masks(n, names[:-1], len(networks)) for n in (0, 1)] if photos else ()
    return SegmentationRecord(
        name, [("recipe", "segment_small")], 100, found, {"segment-v1 toy": measured},
        [Start("2026-01-01", "a processor", "0.1.0", "Python", "resmom segment train")], shown,
    )  # fmt: skip


def _masks(number: int, names: list[str], networks: int) -> MaskPhoto:
    labels = np.arange(24).reshape(4, 6) % len(names)
    colours = {n: n for n in range(len(names))}
    parts = tuple(Part(name, n, 100 / len(names)) for n, name in enumerate(names))
    truth = Mask(mask_uri(np.where(labels == 0, 255, labels) if number else labels, colours), parts, 40.0 * number)
    said = tuple(
        Mask(mask_uri((labels + n) % len(names), colours), parts, right=90.0 - 20 * n) for n in range(networks)
    )
    return MaskPhoto(Picture(uri(90 + number), f"test photo {number + 1}"), 1.5, truth, said)


def finding() -> Finding:
    """Something wrong."""
    return Finding("collapsed", 30, "All images look alike to it.", "Lower the learning rate.")
