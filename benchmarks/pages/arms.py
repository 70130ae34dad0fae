"""What the arms of the grids, and the measures of a table, are called on the pages."""

PLAIN = {"plain": "MoCo-v3"}
WEIGHT = {**PLAIN, "w1": "+ term, weight 1", "w2": "+ term, weight 2"}
SCHEDULE = {
    **PLAIN,
    "w2": "+ term, weight 2 throughout",
    "w2-fall": "+ falling from 2 to 0",
    "w4-fall": "+ falling from 4 to 0",
    "w2-rise": "+ rising from 0 to 2",
}
FALLING = {"w2": "weight 2 throughout", "w2-fall": "falling from 2 to 0", "w4-fall": "falling from 4 to 0"}
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
TUNED_TRIES = {
    arm + end: (called + more)
    for end, more in (
        ("", ", the recipe's settings (rate .3, temperature .2, momentum from .99)"),
        *((f"-lr{rate}", f", rate {rate}") for rate in ("0.15", "0.6", "1.2")),
        *((f"-t{temperature}", f", temperature {temperature}") for temperature in ("0.05", "0.1", "0.4")),
        *((f"-m{momentum}", f", momentum from {momentum}") for momentum in ("0.97", "0.9", "0.8")),
    )
    for arm, called in (("plain", "MoCo-v3"), ("w2", "+ term, weight 2"))
}
TUNED = {
    **PLAIN,
    "plain-t0.1": "temperature .1",
    "plain-m0.9": "momentum from .9",
    "plain-m0.8": "momentum from .8",
    "plain-t0.1-m0.9": "temperature .1, momentum from .9",
    "plain-t0.1-m0.8": "temperature .1, momentum from .8",
    "w2": "+ term, weight 2",
    "w2-t0.1": "+ term, temperature .1",
    "w2-m0.9": "+ term, momentum from .9",
    "w2-t0.1-m0.9": "+ term, both",
}
"""MoCo-v3 and the term at weight 2, each at two temperatures and two first momenta, and MoCo-v3 at a third one."""
TUNED_SELF = {
    "plain-t0.1": "MoCo-v3, temperature .1",
    "w2-t0.1": "+ term",
    "w2-t0.1-m0.9": "+ term, momentum from .9",
}
BESIDE = {"plain-m0.9": "MoCo-v3, momentum from .9", "w2-m0.9": "+ term, weight 2"}
OWN = {
    "plain-t0.1-m0.8": "MoCo-v3, temperature .1, momentum from .8",
    "w2-t0.1-m0.9": "+ term, temperature .1, momentum from .9",
}
"""MoCo-v3 at the momentum that was the best of its own tries."""
BOTH = {
    "plain-t0.1-m0.9": "MoCo-v3, both",
    "w2-t0.1-m0.9": "+ term, weight 2",
    "w4-t0.1-m0.9": "+ term, weight 4",
    "kd-t0.1-m0.9": "+ distillation over relations, weight 0.2",
}
TUNED_LONGER = {
    **PLAIN,
    "w2": "+ term, weight 2",
    "w2-fall": "+ falling from 2 to 0",
    "kd": "+ distillation over relations, weight 0.2",
    "kd-fall": "+ the same, falling from 0.2 to 0",
}
PREDICTED = {
    **PLAIN,
    "nopredictor": "without its predictor",
    "w2": "with the term at p, weight 2",
    "nopredictor-w2": "without its predictor, with the term at z, weight 2",
}
"""MoCo-v3 with and without its predictor and the term."""
UNPREDICTED = {"nopredictor": "MoCo-v3 without its predictor", "nopredictor-w2": "with the term at z, weight 2"}
INSTEAD = {
    "w2": "MoCo-v3 with its predictor, with the term at p",
    "nopredictor": "without its predictor, without the term",
    "nopredictor-w2": "without its predictor, with the term at z",
}
DISTILLED = {"w2": "the term, weight 2", "kd": "distillation over relations"}
DISTILLED_FALLING = {"w2-fall": "the term, falling from 2", "kd-fall": "distillation over relations, falling from 0.2"}
FALLEN = {
    "plain": TUNED_LONGER["plain"],
    "w2-fall": TUNED_LONGER["w2-fall"],
    "kd-fall": "+ distillation over relations, falling from 0.2 to 0",
}
FELL = {name: FALLING[name] for name in ("w2", "w2-fall")}
WEIGHT_2 = {**PLAIN, "w2": "+ term, weight 2"}
BOTH_WAYS = {name: BOTH[name].removeprefix("+ ") for name in ("w2-t0.1-m0.9", "kd-t0.1-m0.9")}
TUNED_WEIGHTS = {
    **PLAIN,
    **{f"w{w}": f"+ term, weight {w}" for w in ("1", "2", "4", "8")},
    **{f"kd-w{w}": f"+ distillation over relations, weight {w}" for w in ("0.05", "0.1", "0.2", "0.4")},
}
RATES = {f"lr{rate}": f"AdamW, {rate} per 256 images" for rate in ("5e-4", "1e-3", "2e-3", "4e-3")}
TRIED = [("gradient norm", "grad_norm", "{:.2f}"), ("gap at p, in training", "gap/p/intra", "{:.4f}")]
