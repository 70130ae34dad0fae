"""Runs that were never run: records with the lines that a real one has."""

import math
from typing import Any

import numpy as np

from resmom.diagnose.rules import Finding
from resmom.report.contents import (
    Contents,
    Line,
    Measure,
    Picture,
    Point,
    Query,
    RunPictures,
    RunRecord,
    Start,
    ViewRow,
    ViewSheet,
)
from resmom.report.thumbnails import data_uri


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


def finding() -> Finding:
    """Something wrong."""
    return Finding("collapsed", 30, "All images look alike to it.", "Lower the learning rate.")
