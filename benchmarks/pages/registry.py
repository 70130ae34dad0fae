"""Which blocks and figures there are, and what each is made of."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.pages.chains import classes, detectors, pairs, pretrained
from benchmarks.pages.figure import courses, dots
from benchmarks.pages.page import Make
from benchmarks.pages.tables import (
    accuracies,
    ahead,
    correlations,
    cost,
    costs,
    courses_of,
    floor,
    gaps,
    lead,
    lines_of,
    own_pulls,
    pulls,
    result_of,
    tuning,
    twice,
    twins,
)

CHAIN = "chain/voc_tiny.jsonl"
QUESTIONS = "questions/questions.jsonl"
PROCESSOR = "questions/processor.jsonl"
TUNING = "questions/tuning.jsonl"
METHODS = "questions/methods.jsonl"
LONGER = "questions/longer.jsonl"
DEFAULT = "questions/longer_default.jsonl"
"""Five more seeds of two arms of `LONGER`."""
CIFAR10 = "questions/cifar10.jsonl"
FLOOR10 = "questions/floor-cifar10.json"
TINY = "questions/tinyimagenet.jsonl"
FLOOR_TINY = "questions/floor-tinyimagenet.json"
DINO = "questions/dino.jsonl"
FLOOR = "questions/floor.json"
GRADIENTS = "questions/gradients.json"
KNN = [("knn/student", "kNN of the student"), ("knn/teacher", "kNN of the teacher")]
ALL = [*KNN, ("online/student", "online classifier of the student")]

PLAIN = {"plain": "MoCo-v3"}
WEIGHT = {**PLAIN, "w1": "+ term, weight 1", "w2": "+ term, weight 2"}
GROWING = {
    "full": "full size",
    "s75_100": "three quarters, full",
    "s75": "three quarters throughout",
    "s50_100": "half, full",
    "s50_75_100": "half, three quarters, full",
    "s50_50_75_100": "half, half, three quarters, full",
    "s50": "half throughout",
}
LASTING = {**PLAIN, "w1": "+ term, weight 1", "w2": "+ term, weight 2", "kd_relation": "+ distillation over relations"}
TERMS = {"w1": "the term, weight 1", "w2": "the term, weight 2", "kd_relation": "distillation over relations"}
BY_DEFAULT = {**PLAIN, "w1": "+ term, weight 1"}
LASTED = {"w2": "the term, weight 2", "kd_relation": "distillation over relations"}
WEIGHTS = {"w1": "term, weight 1", "w2": "term, weight 2"}
PAIRING = {
    **PLAIN,
    "w1": "+ term, same view, weight 1",
    "cross": "+ other view, weight 1",
    "cross0.5": "+ other view, weight 0.5",
    "w2": "+ term, same view, weight 2",
    "cross2": "+ other view, weight 2",
}
VIEWS = {"cross": "other view, weight 1", "w1": "same view, weight 1"}
EQUAL = {"cross0.5": "other view, weight 0.5", "w1": "same view, weight 1"}
MOVED = {
    **PLAIN,
    "z2": "+ at z, weight 2",
    "h2": "+ at h, weight 2",
    "cross0.5": "+ other view, weight 0.5",
    "cross": "+ other view, weight 1",
    "cross2": "+ other view, weight 2",
    "fast-teacher": "momentum from .9",
}
"""The arms whose seeds 3 and 4 were run on another processor than the others'."""
PULLS = {
    "w1": "same view",
    "cross": "other view",
    "z2": "same view, at z",
    "h2": "same view, at h",
    "kd_feature": "distillation over features",
    "kd_relation": "distillation over relations",
}
SITE = {**PLAIN, "w2": "+ at p, weight 2", "z2": "+ at z, weight 2", "h2": "+ at h, weight 2"}
FASTER = {**PLAIN, "fast-teacher": "momentum from .9 instead of .99", "w1": "+ term, weight 1"}
SLOWER = {
    "fast-teacher": "momentum from .9, no term",
    "w1": "from .99, term, weight 1",
    "w2": "from .99, term, weight 2",
}
DISTANCES = {
    "w2": "cosine, weight 2",
    "mse": "mean squared error, weight 1",
    "kd_relation": "over relations",
    "kd_feature": "over features",
}
COSINES = {"w1": "cosine, weight 1", "mse": "mean squared error, weight 1"}
DISTANCE = {
    **PLAIN,
    "w2": "+ cosine, weight 2",
    "mse": "+ mean squared error, weight 1",
    "kd_feature": "+ distillation over features",
    "kd_relation": "+ distillation over relations",
}
HEADLINE = {
    **PLAIN,
    "w1": "+ residual momentum, weight 1",
    "w2": "+ residual momentum, weight 2",
    "kd_feature": "+ distillation over features",
    "kd_relation": "+ distillation over relations",
}
COURSES = {"plain": "MoCo-v3", "w2": "+ residual, weight 2", "kd_relation": "+ distillation, relations"}
EVERY = {
    **WEIGHT,
    **DISTANCE,
    "z2": "+ term at z, weight 2",
    "h2": "+ term at h, weight 2",
    "cross0.5": "+ other view, weight 0.5",
    "cross": "+ other view, weight 1",
    "cross2": "+ other view, weight 2",
    "fast-teacher": "momentum from .9",
}
EACH = {
    "mocov3": "MoCo-v3",
    "nopredictor": "MoCo-v3 without a predictor, at z",
    "byol": "BYOL",
    "mocov2plus": "MoCo-v2+, at z",
    "ressl": "ReSSL, at z",
    "dino": "DINO, at z",
    "dino_bn": "DINO with BatchNorm in its head, at z",
    "nnclr_ema": "NNCLR with a teacher",
    "mocov2": "MoCo-v2, one query, at z",
    "densecl": "DenseCL, at z",
    "msf": "MSF, each view in turn",
}
DETECTORS = {
    "random": "random weights",
    "mocov3-10ep": "MoCo-v3",
    "res-moco-10ep": "MoCo-v3 with the term",
    "densecl-10ep": "DenseCL",
    "densecl+res-10ep": "DenseCL with the term",
}
BOXES = [
    ("ap/student", "AP"),
    ("ap50/student", "AP50"),
    ("ap75/student", "AP75"),
    ("voc07_ap50/student", "AP50 of VOC 2007 (11 points)"),
]
SEEN = {"own other view found (%)": "own other view found, %", "RankMe": "RankMe"}
LEARNED = [arm + end for arm in EACH if arm != "dino" for end in ("", "+res")]
HEADS = {
    "bn": "BatchNorm in the head",
    "bn-lr.1": "and rate .1 instead of .3",
    "bn-m.996": "and momentum from .996",
    "bn-t.04": "and the teacher's temperature .04 instead of .07",
    "bn-t.04-p256": "and 256 prototypes instead of 1,024 beside that",
}
PREDICTOR = {"mocov3": "MoCo-v3", "nopredictor": "without its predictor"}
MADE_UP = {"mocov3+res": "MoCo-v3 with the term", "nopredictor": "without its predictor, without the term"}
WITHOUT_AND_WITH = {"": "", "+res": ", with the term"}
TRIES = {
    "plain": "MoCo-v3",
    **{f"cosine-w{w}": f"cosine, weight {w}" for w in ("0.5", "1", "2", "4")},
    **{f"mse-w{w}": f"mean squared error, weight {w}" for w in ("0.1", "0.3", "1", "3")},
    **{
        f"kd_feature-w{w}-s1-t{t}": f"over features, weight {w}, temperatures 1, {t}"
        for w in ("0.1", "1")
        for t in ("0.4", "1")
    },
    **{
        f"kd_relation-w{w}-s{s}-t{t}": f"over relations, weight {w}, temperatures {s}, {t}"
        for w in ("0.1", "1")
        for s, t in (("0.2", "0.1"), ("0.1", "0.04"))
    },
}


def _runs(docs: Path, arms: Mapping[str, str]) -> str:
    runs = {
        called: [line["measures"]["knn/student"] for line in lines_of(docs, QUESTIONS, [arm])]
        for arm, called in arms.items()
    }
    runs = {called: values for called, values in runs.items() if values}
    best = "normalised pixels"
    marks = {best: result_of(docs, FLOOR)["knn"][best]}
    return dots("kNN of the student, small encoder, CIFAR-100: every run", "top-1, %", runs, marks)


def _gap(docs: Path) -> str:
    title = "Gap at p between student and teacher on the same view, in training"
    return courses(
        title, "epochs (1 - cosine, every run and the means)", courses_of(docs, QUESTIONS, COURSES, "gap/p/intra")
    )


PAGES: Mapping[str, Mapping[str, Make]] = {
    "results/chain.md": {
        "cost": partial(cost, files=[CHAIN]),
        "detectors": partial(detectors, file=CHAIN, names=DETECTORS, kinds=BOXES),
        "pairs": partial(pairs, file=CHAIN, names=DETECTORS, kinds=BOXES),
        "pretrained": partial(pretrained, file=CHAIN, names=DETECTORS, quantities=SEEN),
        "classes": partial(classes, file=CHAIN, names=DETECTORS, network="student"),
    },
    "log.md": {"dino": partial(accuracies, file=DINO, names=HEADS, kinds=KNN)},
    "results/imagenet.md": {
        "costs": partial(costs, file="imagenet/costs.jsonl"),
        "groups": partial(costs, file="imagenet/groups.jsonl"),
    },
    "results/cifar100.md": {
        "cost": partial(cost, files=[QUESTIONS], arms=list(HEADLINE)),
        "accuracy": partial(accuracies, file=QUESTIONS, names=HEADLINE, kinds=ALL),
        "floor": partial(floor, file=QUESTIONS, pixels=FLOOR),
        "gaps": partial(gaps, file=QUESTIONS, names=HEADLINE),
    },
    "automatic.md": {
        "growing": partial(
            tuning,
            file="questions/growing.jsonl",
            names=GROWING,
            parts=[("gap at p, in training", "gap/p/intra", "{:.4f}")],
        )
    },
    "results/questions.md": {
        "cost": partial(cost, files=[QUESTIONS, TUNING, METHODS, LONGER, CIFAR10, TINY]),
        "floor": partial(floor, file=QUESTIONS, pixels=FLOOR),
        "weight": partial(accuracies, file=QUESTIONS, names=WEIGHT, kinds=ALL),
        "processor": partial(twice, file=QUESTIONS, again=PROCESSOR, arm="plain", kinds=ALL),
        "instead": partial(accuracies, file=QUESTIONS, names=MOVED, kinds=ALL, instead=PROCESSOR),
        "own-pulls": partial(own_pulls, file=GRADIENTS, names=EQUAL),
        "weights": partial(accuracies, file=QUESTIONS, names=WEIGHTS, kinds=ALL),
        "pairing": partial(accuracies, file=QUESTIONS, names=PAIRING, kinds=KNN),
        "views": partial(accuracies, file=QUESTIONS, names=VIEWS, kinds=ALL),
        "equal": partial(accuracies, file=QUESTIONS, names=EQUAL, kinds=ALL),
        "pulls": partial(pulls, file=GRADIENTS, names=PULLS),
        "site": partial(accuracies, file=QUESTIONS, names=SITE, kinds=KNN),
        "distance": partial(accuracies, file=QUESTIONS, names=DISTANCE, kinds=ALL),
        "distances": partial(accuracies, file=QUESTIONS, names=DISTANCES, kinds=ALL),
        "cosines": partial(accuracies, file=QUESTIONS, names=COSINES, kinds=ALL),
        "faster": partial(accuracies, file=QUESTIONS, names=FASTER, kinds=KNN),
        "slower": partial(accuracies, file=QUESTIONS, names=SLOWER, kinds=ALL),
        "gaps": partial(gaps, file=QUESTIONS, names=EVERY),
        "correlations": partial(
            correlations,
            file=QUESTIONS,
            arms=list(EVERY),
            pairs=[
                (f"gap on the same view at {site}, kNN of the student", f"gap/{site}/intra", "knn/student")
                for site in ("h", "z", "p")
            ]
            + [
                ("gap to the other view at p, kNN of the student", "gap/p/inter", "knn/student"),
                ("kNN of the teacher minus the student's, kNN of the student", "knn/ahead", "knn/student"),
            ],
        ),
        "correlations-methods": partial(
            correlations,
            file=METHODS,
            arms=LEARNED,
            pairs=[
                (f"gap on the same view at {site}, kNN of the student", f"gap/{site}/intra", "knn/student")
                for site in ("h", "z")
            ]
            + [
                ("gap to the other view at z, kNN of the student", "gap/z/inter", "knn/student"),
                ("kNN of the teacher minus the student's, kNN of the student", "knn/ahead", "knn/student"),
            ],
        ),
        "longer": partial(accuracies, file=LONGER, names=LASTING, kinds=ALL),
        "longer-distances": partial(accuracies, file=LONGER, names=LASTED, kinds=ALL),
        "longer-weights": partial(accuracies, file=LONGER, names=WEIGHTS, kinds=ALL),
        "default-new": partial(accuracies, file=DEFAULT, names=BY_DEFAULT, kinds=ALL),
        "default-ten": partial(accuracies, file=LONGER, names=BY_DEFAULT, kinds=ALL, instead=DEFAULT),
        "longer-lead": partial(lead, file=LONGER, names=LASTING),
        "longer-ahead": partial(ahead, file=LONGER, names=LASTING),
        "longer-gaps": partial(gaps, file=LONGER, names=LASTING),
        "cifar10": partial(accuracies, file=CIFAR10, names=LASTING, kinds=ALL),
        "cifar10-terms": partial(accuracies, file=CIFAR10, names=TERMS, kinds=ALL),
        "cifar10-distances": partial(accuracies, file=CIFAR10, names=LASTED, kinds=ALL),
        "cifar10-floor": partial(floor, file=CIFAR10, pixels=FLOOR10),
        "cifar10-gaps": partial(gaps, file=CIFAR10, names=LASTING),
        "tinyimagenet": partial(accuracies, file=TINY, names=LASTING, kinds=ALL),
        "tinyimagenet-terms": partial(accuracies, file=TINY, names=TERMS, kinds=ALL),
        "tinyimagenet-floor": partial(floor, file=TINY, pixels=FLOOR_TINY),
        "tinyimagenet-gaps": partial(gaps, file=TINY, names=LASTING),
        "predictor": partial(accuracies, file=METHODS, names=PREDICTOR, kinds=KNN),
        "made-up": partial(accuracies, file=METHODS, names=MADE_UP, kinds=KNN),
        "methods": partial(twins, file=METHODS, names=EACH, kind="knn/student", ending="+res"),
        "methods-teacher": partial(twins, file=METHODS, names=EACH, kind="knn/teacher", ending="+res"),
        "methods-gaps": partial(
            gaps,
            file=METHODS,
            names={arm + end: called + more for arm, called in EACH.items() for end, more in WITHOUT_AND_WITH.items()},
            site="z",
        ),
        "ahead": partial(ahead, file=METHODS, names=EACH),
        "tuning": partial(
            tuning,
            file=TUNING,
            names=TRIES,
            parts=[
                ("gradient norm", "grad_norm", "{:.2f}"),
                ("entropy of the target, nats", "residual/target_entropy", "{:.2f}"),
                ("gap at p, in training", "gap/p/intra", "{:.4f}"),
            ],
        ),
    },
}
FIGURES: Mapping[str, Make] = {
    "pictures/questions.svg": partial(_runs, arms=EVERY),
    "pictures/cifar100.svg": partial(_runs, arms=HEADLINE),
    "pictures/cifar100-gap.svg": _gap,
}
