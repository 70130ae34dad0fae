"""Which blocks and figures there are, and what each is made of."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.evaluation import table as measuring
from benchmarks.formats import table as decoding
from benchmarks.pages import arms
from benchmarks.pages.across import beside, twice
from benchmarks.pages.chains import classes, detectors, pairs, pretrained
from benchmarks.pages.figure import courses, dots
from benchmarks.pages.page import Make
from benchmarks.pages.sametime import each_size, same_time
from benchmarks.pages.short import Row, short
from benchmarks.pages.tables import (
    accuracies,
    ahead,
    correlations,
    cost,
    costs,
    courses_of,
    floor,
    gap_course,
    gaps,
    lead,
    lines_of,
    own_pulls,
    pulls,
    result_of,
    tuning,
    twins,
)
from benchmarks.settings import table as settings_table
from resmom.jsonfiles import read_lines

CHAIN = "chain/voc_tiny.jsonl"
QUESTIONS = "questions/questions.jsonl"
PROCESSOR = "questions/processor.jsonl"
TUNING = "questions/tuning.jsonl"
METHODS = "questions/methods.jsonl"
LONGER = "questions/longer.jsonl"
DEFAULT = "questions/longer_default.jsonl"
"""Five more seeds of two arms of `LONGER`."""
CIFAR10 = "questions/cifar10.jsonl"
TINY = "questions/tinyimagenet.jsonl"
PHOTOS = "questions/imagenette.jsonl"
VIT = "questions/vit.jsonl"
VIT_TUNING = "questions/vit_tuning.jsonl"
TUNED_TRIES = "questions/tuned_tries.jsonl"
TUNED = "questions/tuned.jsonl"
TUNED_WEIGHTS = "questions/tuned_weights.jsonl"
TUNED_LONGER = "questions/tuned_longer.jsonl"
TUNED_LONGEST = "questions/tuned_longest.jsonl"
SCHEDULE = "questions/schedule.jsonl"
WIDER = "questions/wider.jsonl"
"""Twice the widths and heads of `TUNED`."""
WIDEST = "questions/widest.jsonl"
"""Four times those."""
DINO = "questions/dino.jsonl"
SAME_TIME = "sametime.jsonl"
FLOOR = "questions/floor.json"
GRADIENTS = "questions/gradients.json"
KNN = [("knn/student", "kNN of the student"), ("knn/teacher", "kNN of the teacher")]
ALL = [*KNN, ("online/student", "online classifier of the student")]


def _elsewhere(name: str, file: str, names: Mapping[str, str], pixels: str) -> dict[str, Make]:
    """The blocks of a grid on other data, or of another encoder: accuracies, what no learning finds, gaps."""
    return {
        name: partial(accuracies, file=file, names=names, kinds=ALL),
        f"{name}-floor": partial(floor, file=file, pixels=pixels),
        f"{name}-gaps": partial(gaps, file=file, names=names),
    }


def _tried(docs: Path, file: str) -> str:
    return "\n".join(settings_table(read_lines(docs / "results" / file))).strip()


def _formats(docs: Path, file: str) -> str:
    return decoding(result_of(docs, file))


def _measuring(docs: Path, file: str) -> str:
    found = result_of(docs, file)
    return measuring({kind: found[kind] for kind in ("small", "large")})


def _runs(docs: Path, names: Mapping[str, str]) -> str:
    runs = {
        called: [line["measures"]["knn/student"] for line in lines_of(docs, QUESTIONS, [arm])]
        for arm, called in names.items()
    }
    runs = {called: values for called, values in runs.items() if values}
    best = "normalised pixels"
    marks = {best: result_of(docs, FLOOR)["knn"][best]}
    return dots("kNN of the student, small encoder, CIFAR-100: every run", "top-1, %", runs, marks)


def _gap(docs: Path) -> str:
    title = "Gap at p between student and teacher on the same view, in training"
    return courses(
        title, "epochs (1 - cosine, every run and the means)", courses_of(docs, QUESTIONS, arms.COURSES, "gap/p/intra")
    )


PAGES: Mapping[str, Mapping[str, Make]] = {
    "results/chain.md": {
        "cost": partial(cost, files=[CHAIN]),
        "detectors": partial(detectors, file=CHAIN, names=arms.DETECTORS, kinds=arms.BOXES),
        "pairs": partial(pairs, file=CHAIN, names=arms.DETECTORS, kinds=arms.BOXES),
        "pretrained": partial(pretrained, file=CHAIN, names=arms.DETECTORS, quantities=arms.SEEN),
        "classes": partial(classes, file=CHAIN, names=arms.DETECTORS, network="student"),
    },
    "log.md": {"dino": partial(accuracies, file=DINO, names=arms.HEADS, kinds=KNN)},
    "../README.md": {
        "short": partial(
            short,
            rows=[
                Row("CIFAR-100", 4, "the term, weight 2", QUESTIONS, "w2"),
                Row("CIFAR-100", 4, "the term, weight 2; both tuned*", TUNED, "w2-t0.1-m0.9", "plain-t0.1-m0.9"),
                Row("CIFAR-100", 20, "the term, weight 1", LONGER, "w1", more=DEFAULT),
                Row("CIFAR-100", 20, "the term, weight 2", LONGER, "w2"),
                Row("CIFAR-100", 20, "the term, weight 2; both tuned*", TUNED_LONGER, "w2"),
                Row("CIFAR-100", 20, "the term, weight falling from 2 to 0; both tuned*", TUNED_LONGER, "w2-fall"),
                Row("CIFAR-100", 20, "no predictor; both tuned*", TUNED_LONGER, "nopredictor"),
                Row("CIFAR-100", 20, "no predictor, the term, weight 2; both tuned*", TUNED_LONGER, "nopredictor-w2"),
                Row("CIFAR-100", 50, "the term, weight falling from 2 to 0; both tuned*", TUNED_LONGEST, "w2-fall"),
                Row("CIFAR-100", 4, "control: distillation over relations", QUESTIONS, "kd_relation"),
                Row("CIFAR-100", 20, "control: distillation over relations", LONGER, "kd_relation"),
                Row("CIFAR-100", 20, "control: distillation over relations; both tuned*", TUNED_LONGER, "kd"),
                Row(
                    "CIFAR-100",
                    50,
                    "control: distillation over relations, falling; both tuned*",
                    TUNED_LONGEST,
                    "kd-fall",
                ),
                Row("CIFAR-10", 4, "the term, weight 1", CIFAR10, "w1"),
                Row("Tiny-ImageNet", 2, "the term, weight 1", TINY, "w1"),
                Row("Imagenette at 64 pixels", 20, "the term, weight 1", PHOTOS, "w1"),
                Row("CIFAR-100, 1.2 million parameters", 4, "the term, weight 2; both tuned*", WIDER, "w2"),
                Row("CIFAR-100, 4.9 million parameters", 4, "the term, weight 2; both tuned*", WIDEST, "w2"),
                Row("CIFAR-100, a micro ViT", 4, "the term, weight 1", VIT, "w1"),
            ],
        )
    },
    "results/speed/README.md": {"measuring": partial(_measuring, file="speed/evaluation.json")},
    "data.md": {"formats": partial(_formats, file="speed/formats.json")},
    "results/sametime.md": {
        "same-time": partial(same_time, file=SAME_TIME),
        "sizes": partial(each_size, file=SAME_TIME),
        "again": partial(same_time, file="sametime-again.jsonl"),
    },
    "results/imagenet.md": {
        "costs": partial(costs, file="imagenet/costs.jsonl"),
        "groups": partial(costs, file="imagenet/groups.jsonl"),
    },
    "results/cifar100.md": {
        "cost": partial(cost, files=[QUESTIONS], arms=list(arms.HEADLINE)),
        "accuracy": partial(accuracies, file=QUESTIONS, names=arms.HEADLINE, kinds=ALL),
        "floor": partial(floor, file=QUESTIONS, pixels=FLOOR),
        "gaps": partial(gaps, file=QUESTIONS, names=arms.HEADLINE),
    },
    "results/settings.md": {
        **{name: partial(_tried, file=f"settings/{name}.jsonl") for name in ("cells", "work", "methods", "again")},
        "growing": partial(
            tuning,
            file="questions/growing.jsonl",
            names=arms.GROWING,
            parts=[("gap at p, in training", "gap/p/intra", "{:.4f}")],
        ),
    },
    "results/questions.md": {
        "cost": partial(
            cost,
            files=[
                *(QUESTIONS, TUNING, METHODS, LONGER, DEFAULT, CIFAR10, TINY, PHOTOS, VIT, VIT_TUNING),
                *(TUNED_TRIES, TUNED, TUNED_WEIGHTS, TUNED_LONGER, TUNED_LONGEST, SCHEDULE, WIDER, WIDEST),
            ],
        ),
        "floor": partial(floor, file=QUESTIONS, pixels=FLOOR),
        "weight": partial(accuracies, file=QUESTIONS, names=arms.WEIGHT, kinds=ALL),
        "processor": partial(twice, file=QUESTIONS, again=TUNED, arm="plain", kinds=ALL),
        "processor-difference": partial(beside, file=TUNED, other=QUESTIONS, names=arms.WEIGHT_2, kinds=ALL),
        "processor-term": partial(twice, file=QUESTIONS, again=TUNED, arm="w2", kinds=ALL),
        "instead": partial(accuracies, file=QUESTIONS, names=arms.MOVED, kinds=ALL, instead=PROCESSOR),
        "first-equal": partial(accuracies, file=QUESTIONS, names=arms.EQUAL, kinds=KNN[:1], seeds=range(3)),
        "first-faster": partial(accuracies, file=QUESTIONS, names=arms.SLOWER, kinds=KNN[:1], seeds=range(3)),
        "own-pulls": partial(own_pulls, file=GRADIENTS, names=arms.EQUAL),
        "weights": partial(accuracies, file=QUESTIONS, names=arms.WEIGHTS, kinds=ALL),
        "schedule": partial(accuracies, file=TUNED, names=arms.SCHEDULE, kinds=ALL, instead=SCHEDULE),
        "falling": partial(accuracies, file=TUNED, names=arms.FALLING, kinds=ALL, instead=SCHEDULE),
        "pairing": partial(accuracies, file=QUESTIONS, names=arms.PAIRING, kinds=KNN),
        "views": partial(accuracies, file=QUESTIONS, names=arms.VIEWS, kinds=ALL),
        "equal": partial(accuracies, file=QUESTIONS, names=arms.EQUAL, kinds=ALL),
        "pulls": partial(pulls, file=GRADIENTS, names=arms.PULLS),
        "site": partial(accuracies, file=QUESTIONS, names=arms.SITE, kinds=KNN),
        "distance": partial(accuracies, file=QUESTIONS, names=arms.DISTANCE, kinds=ALL),
        "distances": partial(accuracies, file=QUESTIONS, names=arms.DISTANCES, kinds=ALL),
        "cosines": partial(accuracies, file=QUESTIONS, names=arms.COSINES, kinds=ALL),
        "faster": partial(accuracies, file=QUESTIONS, names=arms.FASTER, kinds=KNN),
        "slower": partial(accuracies, file=QUESTIONS, names=arms.SLOWER, kinds=ALL),
        "gaps": partial(gaps, file=QUESTIONS, names=arms.EVERY),
        "correlations": partial(
            correlations,
            file=QUESTIONS,
            arms=list(arms.EVERY),
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
            arms=arms.LEARNED,
            pairs=[
                (f"gap on the same view at {site}, kNN of the student", f"gap/{site}/intra", "knn/student")
                for site in ("h", "z")
            ]
            + [
                ("gap to the other view at z, kNN of the student", "gap/z/inter", "knn/student"),
                ("kNN of the teacher minus the student's, kNN of the student", "knn/ahead", "knn/student"),
            ],
        ),
        "tuned-tries": partial(tuning, file=TUNED_TRIES, names=arms.TUNED_TRIES, parts=arms.TRIED),
        "tuned": partial(accuracies, file=TUNED, names=arms.TUNED, kinds=ALL),
        "tuned-self": partial(accuracies, file=TUNED, names=arms.TUNED_SELF, kinds=ALL),
        "tuned-beside": partial(accuracies, file=TUNED, names=arms.BESIDE, kinds=ALL),
        "tuned-own": partial(accuracies, file=TUNED, names=arms.OWN, kinds=ALL),
        "tuned-both": partial(accuracies, file=TUNED, names=arms.BOTH, kinds=ALL),
        "tuned-weights": partial(tuning, file=TUNED_WEIGHTS, names=arms.TUNED_WEIGHTS, parts=arms.TRIED),
        "tuned-distances": partial(accuracies, file=TUNED, names=arms.BOTH_WAYS, kinds=ALL),
        "tuned-gaps": partial(gaps, file=TUNED, names=arms.TUNED_SELF),
        "tuned-longer": partial(accuracies, file=TUNED_LONGER, names=arms.TUNED_LONGER, kinds=ALL),
        "tuned-longest": partial(accuracies, file=TUNED_LONGEST, names=arms.FALLEN, kinds=ALL),
        "tuned-longest-distances": partial(accuracies, file=TUNED_LONGEST, names=arms.DISTILLED_FALLING, kinds=ALL),
        "tuned-longest-lead": partial(lead, file=TUNED_LONGEST, names=arms.FALLEN),
        "tuned-longest-gaps": partial(gaps, file=TUNED_LONGEST, names=arms.FALLEN),
        "tuned-longer-distances": partial(accuracies, file=TUNED_LONGER, names=arms.DISTILLED, kinds=ALL),
        "tuned-longer-distances-falling": partial(
            accuracies, file=TUNED_LONGER, names=arms.DISTILLED_FALLING, kinds=ALL
        ),
        "tuned-longer-gap-course": partial(gap_course, file=TUNED_LONGER, names=arms.TUNED_LONGER),
        "tuned-longer-gaps": partial(gaps, file=TUNED_LONGER, names=arms.TUNED_LONGER),
        "predicted": partial(accuracies, file=TUNED_LONGER, names=arms.PREDICTED, kinds=ALL),
        "unpredicted": partial(accuracies, file=TUNED_LONGER, names=arms.UNPREDICTED, kinds=ALL),
        "predicted-instead": partial(accuracies, file=TUNED_LONGER, names=arms.INSTEAD, kinds=ALL),
        "predicted-lead": partial(lead, file=TUNED_LONGER, names=arms.PREDICTED),
        "predicted-gaps": partial(gaps, file=TUNED_LONGER, names=arms.PREDICTED),
        "tuned-longer-falling": partial(accuracies, file=TUNED_LONGER, names=arms.FELL, kinds=ALL),
        "tuned-longer-falling-lead": partial(lead, file=TUNED_LONGER, names=arms.FELL),
        "tuned-longer-lead": partial(lead, file=TUNED_LONGER, names=arms.TUNED_LONGER),
        "tuned-longer-beside": partial(beside, file=TUNED_LONGER, other=LONGER, names=arms.WEIGHT_2, kinds=ALL),
        "longer": partial(accuracies, file=LONGER, names=arms.LASTING, kinds=ALL),
        "longer-distances": partial(accuracies, file=LONGER, names=arms.LASTED, kinds=ALL),
        "longer-weights": partial(accuracies, file=LONGER, names=arms.WEIGHTS, kinds=ALL),
        "default-new": partial(accuracies, file=DEFAULT, names=arms.BY_DEFAULT, kinds=ALL),
        "default-ten": partial(accuracies, file=LONGER, names=arms.BY_DEFAULT, kinds=ALL, instead=DEFAULT),
        "longer-lead": partial(lead, file=LONGER, names=arms.LASTING),
        "default-lead": partial(lead, file=LONGER, names=arms.BY_DEFAULT, more=DEFAULT),
        "longer-distances-lead": partial(lead, file=LONGER, names=arms.LASTED),
        "longer-ahead": partial(ahead, file=LONGER, names=arms.LASTING),
        "longer-gaps": partial(gaps, file=LONGER, names=arms.LASTING),
        **_elsewhere("cifar10", CIFAR10, arms.LASTING, "questions/floor-cifar10.json"),
        "cifar10-terms": partial(accuracies, file=CIFAR10, names=arms.TERMS, kinds=ALL),
        "cifar10-distances": partial(accuracies, file=CIFAR10, names=arms.LASTED, kinds=ALL),
        **_elsewhere("tinyimagenet", TINY, arms.LASTING, "questions/floor-tinyimagenet.json"),
        "tinyimagenet-terms": partial(accuracies, file=TINY, names=arms.TERMS, kinds=ALL),
        **_elsewhere("imagenette", PHOTOS, arms.BY_DEFAULT, "questions/floor-imagenette.json"),
        "widths": partial(
            short,
            first="parameters of the network",
            rows=[
                Row("0.3 million", 4, "the term, weight 2", TUNED, "w2-t0.1-m0.9", "plain-t0.1-m0.9"),
                Row("1.2 million", 4, "the term, weight 2", WIDER, "w2"),
                Row("4.9 million", 4, "the term, weight 2", WIDEST, "w2"),
            ],
        ),
        "wider": partial(accuracies, file=WIDER, names=arms.WEIGHT_2, kinds=ALL),
        "widest": partial(accuracies, file=WIDEST, names=arms.WEIGHT_2, kinds=ALL),
        "wider-gaps": partial(gaps, file=WIDER, names=arms.WEIGHT_2),
        "widest-gaps": partial(gaps, file=WIDEST, names=arms.WEIGHT_2),
        **_elsewhere("vit", VIT, arms.BY_DEFAULT, FLOOR),
        "vit-tuning": partial(tuning, file=VIT_TUNING, names=arms.RATES, parts=arms.TRIED),
        "predictor": partial(accuracies, file=METHODS, names=arms.PREDICTOR, kinds=KNN),
        "made-up": partial(accuracies, file=METHODS, names=arms.MADE_UP, kinds=KNN),
        "methods": partial(twins, file=METHODS, names=arms.EACH, kind="knn/student", ending="+res"),
        "methods-teacher": partial(twins, file=METHODS, names=arms.EACH, kind="knn/teacher", ending="+res"),
        "methods-gaps": partial(
            gaps,
            file=METHODS,
            names={
                arm + end: called + more
                for arm, called in arms.EACH.items()
                for end, more in arms.WITHOUT_AND_WITH.items()
            },
            site="z",
        ),
        "ahead": partial(ahead, file=METHODS, names=arms.EACH),
        "tuning": partial(
            tuning,
            file=TUNING,
            names=arms.TRIES,
            parts=[arms.TRIED[0], ("entropy of the target, nats", "residual/target_entropy", "{:.2f}"), arms.TRIED[1]],
        ),
    },
}
FIGURES: Mapping[str, Make] = {
    "pictures/questions.svg": partial(_runs, names=arms.EVERY),
    "pictures/cifar100.svg": partial(_runs, names=arms.HEADLINE),
    "pictures/cifar100-gap.svg": _gap,
}
