"""Tables in Markdown from the lines of result files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from scipy.stats import spearmanr

from benchmarks.imagenet import IMAGES
from resmom.diagnose.paired import Paired, Spread, paired, spread
from resmom.errors import UserError
from resmom.jsonfiles import read_lines
from resmom.runs.comparisons.arms import comparison
from resmom.runs.comparisons.columns import Table, told, verdict
from resmom.runs.comparisons.compared import Arm
from resmom.runs.comparisons.comparisontables import markdown_rows
from resmom.runs.comparisons.results import Line
from resmom.runs.environment import machine_of

NETWORKS = ("student", "teacher")
Names = Mapping[str, str]
"""Arms by name, in the order in which they are shown, with what they are called in the table."""


def lines_of(docs: Path, file: str, arms: Iterable[str]) -> list[Line]:
    """The lines of those arms, the first arm first. Raises UserError where there is no such file."""
    path, order = docs / "results" / file, {arm: place for place, arm in enumerate(arms)}
    if not path.exists():
        raise UserError(f"{path} is not there; write it by python -m benchmarks.pages collect OUT {path}")
    lines = [line for line in read_lines(path) if line["arm"] in order]
    return [{**line, "place": order[line["arm"]]} for line in lines]


def accuracies(
    docs: Path, file: str, names: Names, kinds: Sequence[tuple[str, str]], instead: str = "", seeds: range | None = None
) -> str:
    """A table for each kind of accuracy: mean ± sd, and the difference from the first arm with its verdict.

    Runs that the file `instead` has count as they are there. `seeds`: of these alone.
    """
    lines = lines_of(docs, file, names) + (lines_of(docs, instead, names) if instead else [])
    found = comparison([line for line in lines if seeds is None or line["seed"] in seeds])
    return "\n\n".join(markdown_rows(found.arms, Table(kind, title, "", 2), names) for kind, title in kinds)


def result_of(docs: Path, file: str) -> dict[str, Any]:
    """A result file that is one JSON object."""
    found: dict[str, Any] = json.loads((docs / "results" / file).read_text(encoding="utf-8"))
    return found


def floor(docs: Path, file: str, pixels: str) -> str:
    """kNN without any learning: of pixels, from the file `pixels`, and of all runs' random weights."""
    found, lines = result_of(docs, pixels), read_lines(docs / "results" / file)
    if any(line["data"]["fingerprint"] != found["data"]["fingerprint"] for line in lines):
        raise UserError(f"{pixels} and {file} are of different images; measure the floor anew with benchmarks.floor")
    starts = {line["seed"]: line["before"] for line in lines}
    rows = [f"| {what} | {top1:.2f} |" for what, top1 in found["knn"].items()]
    rows.append(f"| random weights of the encoder, {len(starts)} seeds | {told(spread(list(starts.values())))} |")
    return "| kNN without learning | top-1, % |\n|---|---|\n" + "\n".join(rows)


def pulls(docs: Path, file: str, names: Names) -> str:
    """At the weights of finished runs: the weight at which each arm's term pulls as hard as the first one's at 1."""
    rows = result_of(docs, file)["rows"]
    head = f"| at the weights of the run | {' | '.join(names.values())} |\n|---|{'---|' * len(names)}\n"
    return head + "\n".join(
        f"| {row['run']} | " + " | ".join(f"{row['weights'][arm]:.2f}" for arm in names) + " |" for row in rows
    )


def own_pulls(docs: Path, file: str, names: Names) -> str:
    """How hard each arm's term pulls at the end of its own runs: weight times the norm of its gradient at weight 1."""
    rows = [
        f"| {names[arm]}, {seed} | {row['residual']['weight'] * row['norms'][arm]:.3f} |"
        for row in result_of(docs, file)["rows"]
        for arm, _, seed in [row["run"].partition("/")]
        if arm in names
    ]
    return "| run | norm of the gradient |\n|---|---|\n" + "\n".join(rows)


def twins(docs: Path, file: str, names: Names, kind: str, ending: str) -> str:
    """A row per method: without the term, with it (the arm of that `ending`), and the difference with its verdict."""
    rows = []
    for arm, called in names.items():
        lines = lines_of(docs, file, [arm, arm + ending])
        if {line["arm"] for line in lines} != {arm, arm + ending}:
            continue
        plain, twin = comparison(lines).arms
        said = (
            verdict(twin, kind, 2)
            if plain.counts
            else f"not resolved: without the term it did not learn ({_rise(lines, arm)})"
        )
        before, after = told(plain.measures.get(kind)), told(twin.measures.get(kind))
        rows.append(f"| {called} | {told(plain.before)} | {before} | {after} | {said} |")
    return (
        "| method | random weights | without the term | with it | difference, same seeds |\n|---|---|---|---|---|\n"
        + "\n".join(rows)
    )


def _rise(lines: Sequence[Line], arm: str) -> str:
    """How far the runs of an arm rose above their random weights, and the seeds that would tell it from 0."""
    own = {line["seed"]: line for line in lines if line["arm"] == arm and line["before"] is not None}
    rise = paired(
        {seed: line["measures"]["knn/student"] for seed, line in own.items()},
        {seed: line["before"] for seed, line in own.items()},
        step=100 / min((line["queries"] for line in own.values()), default=100),
    )
    if rise is None or rise.needed is None:
        return "no number of seeds would tell its rise from 0"
    if rise.resolved:
        return f"it rose by {rise.difference.mean:+.2f}, told from 0 and yet too little"
    return f"it rose by {rise.difference.mean:+.2f}, which about {rise.needed} seeds would tell from 0"


def ahead(docs: Path, file: str, names: Names) -> str:
    """kNN of the teacher minus that of the student, each time that both were measured; mean ± sd over seeds."""
    courses: dict[str, dict[float, list[float]]] = {}
    for line in lines_of(docs, file, names):
        own = courses.setdefault(line["arm"], {})
        for point in line["curves"]["knn"]:
            if point["epoch"] > 0:  # before, both are one network
                own.setdefault(point["epoch"], []).append(point["teacher"] - point["student"])
    epochs = sorted({epoch for own in courses.values() for epoch in own})
    rows = [
        f"| {names[arm]} | " + " | ".join(told(spread(own[e])) if e in own else "–" for e in epochs) + " |"
        for arm, own in courses.items()
    ]
    head = "| after epoch | " + " | ".join(f"{epoch:g}" for epoch in epochs) + " |\n"
    return head + "|---|" + "---|" * len(epochs) + "\n" + "\n".join(rows)


def lead(docs: Path, file: str, names: Names, more: str = "") -> str:
    """kNN of each arm minus that of the first by seed, each time that both were measured, with its 95 % interval.

    The last column is what that lead gained, by seed, from the first time to the last: whether it lasts. `more`: a
    file with further seeds of these arms.
    """
    found: dict[tuple[str, str], dict[float, dict[int, float]]] = {}
    for line in [line for each in (file, more) if each for line in lines_of(docs, each, names)]:
        for point, network in product(line["curves"]["knn"], NETWORKS):
            if point["epoch"] > 0:  # before, all arms are one network
                course = found.setdefault((line["arm"], network), {})
                course.setdefault(point["epoch"], {})[line["seed"]] = point[network]
    first, *others = names
    epochs = sorted({epoch for course in found.values() for epoch in course})
    rows = []
    for arm, network in product(others, NETWORKS):
        if (arm, network) not in found:  # of the arm nothing has been run yet
            continue
        own, base = found[arm, network], found[first, network]
        pairs = [paired(own.get(e, {}), base.get(e, {})) for e in epochs]
        start, end = (
            {s: own[e][s] - base[e][s] for s in own.get(e, {}) if s in base.get(e, {})} for e in (epochs[0], epochs[-1])
        )
        pairs.append(paired(end, start))
        rows.append(f"| {names[arm]}, {network} | " + " | ".join(map(interval, pairs)) + " |")
    head = f"| over {names[first]}, after epoch | " + " | ".join(f"{epoch:g}" for epoch in epochs) + " | gained |\n"
    return head + "|---|" + "---|" * (len(epochs) + 1) + "\n" + "\n".join(rows)


def interval(found: Paired | None) -> str:
    """A mean difference with its bounds; a dash where nothing is paired."""
    if found is None:
        return "–"
    bounds = "" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return f"{found.difference.mean:+.2f}{bounds}"


def gap_course(docs: Path, file: str, names: Names, site: str = "p") -> str:
    """The gap on the same view while training, from the first to the last: means over seeds, at the epochs kept."""
    found: dict[str, dict[float, list[float]]] = {}
    for line in lines_of(docs, file, names):
        for point in line["curves"]["train"]:
            found.setdefault(line["arm"], {}).setdefault(point["epoch"], []).append(point[f"gap/{site}/intra"])
    epochs = sorted({epoch for course in found.values() for epoch in course})[::2]
    rows = [
        f"| {names[arm]} | " + " | ".join(f"{mean(found[arm][epoch]):.4f}" for epoch in epochs) + " |"
        for arm in names
        if arm in found
    ]
    head = f"| same view, {site}, in training | " + " | ".join(f"epoch {epoch:.1f}" for epoch in epochs) + " |\n"
    return head + "|---|" + "---|" * len(epochs) + "\n" + "\n".join(rows)


def gaps(docs: Path, file: str, names: Names, site: str = "p") -> str:
    """The gaps at the end: at every site on the same view, and at `site` beside those that say what it means."""
    found = comparison(lines_of(docs, file, names))
    rows = []
    for arm in found.arms:
        same = " | ".join(told(arm.measures.get(f"gap/{s}/intra"), 4) for s in ("h", "z", "p"))
        around = " | ".join(told(arm.measures.get(f"gap/{site}/{kind}"), 3) for kind in ("inter", "chance"))
        ahead = told(_teacher_ahead(docs, file, arm))
        rows.append(f"| {names[arm.name]} | {same} | {around} | {ahead} |")
    head = (
        f"| | same view, h | same view, z | same view, p | other view, {site} | other image, {site} | kNN, teacher "
        "minus student |\n|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows)


def tuning(docs: Path, file: str, names: Names, parts: Sequence[tuple[str, str, str]]) -> str:
    """Every try: kNN of the student on images held out, and means over the last quarter of training.

    `parts` are (title, name of the training's number, format).
    """
    lines = lines_of(docs, file, names)
    head = "| try | kNN student, held out | " + " | ".join(title for title, _, _ in parts) + " |\n"
    rows = []
    for arm, called in names.items():
        own = [line for line in lines if line["arm"] == arm]
        if not own:
            continue
        values = [_of(own, name, form) for _, name, form in parts]
        knn = told(spread([line["measures"]["knn/student"] for line in own]))
        rows.append(f"| {called} | {knn} | " + " | ".join(values) + " |")
    return head + "|" + "---|" * (2 + len(parts)) + "\n" + "\n".join(rows)


def correlations(docs: Path, file: str, arms: Sequence[str], pairs: Sequence[tuple[str, str, str]]) -> str:
    """Spearman's rank correlation over runs and over the means of arms. `pairs` are (title, measure, measure).

    Beside what was measured there is `knn/ahead`, kNN of the teacher minus the student's.
    """
    lines = [_with_ahead(line) for line in lines_of(docs, file, arms) if line["failed"] is None]
    by_arm = comparison(lines).arms
    rows = []
    for title, one, other in pairs:
        runs = [(line["measures"][one], line["measures"][other]) for line in lines]
        means = [(arm.measures[one].mean, arm.measures[other].mean) for arm in by_arm]
        rows.append(f"| {title} | {_rank(runs)} | {_rank(means)} |")
    return "| | over runs | over the arms' means |\n|---|---|---|\n" + "\n".join(rows)


def _with_ahead(line: Line) -> Line:
    measures = line["measures"]
    return {**line, "measures": {**measures, "knn/ahead": measures["knn/teacher"] - measures["knn/student"]}}


def cost(docs: Path, files: Sequence[str], arms: Sequence[str] = ()) -> str:
    """What was spent, on all arms or on some: cells, hours of training, on what."""
    lines = [line for file in files for line in read_lines(docs / "results" / file)]
    lines = [line for line in lines if not arms or line["arm"] in arms]
    hours = sum(line["seconds"] for line in lines) / 3600
    machines = sorted({machine_of(e) for e in _environments(lines)})
    versions = sorted({f"torch {e['packages']['torch']}" for e in _environments(lines)})
    commits = sorted({e["commit"] or "not known" for e in _environments(lines)})
    return (
        f"{len(lines)} runs, {hours:.1f} hours of training in all ({'; '.join(machines)} a run; {', '.join(versions)}; "
        f"commit {', '.join(commits)})."
    )


def costs(docs: Path, file: str) -> str:
    """What each ImageNet recipe was measured to take, and what it would, from the lines of `benchmarks.imagenet`."""
    rows = [
        f"| `{line['recipe']}` | {line['seconds_per_step']:.1f} | {line['batch'] / line['seconds_per_step']:.2f} | "
        f"{line['epochs']:,} | {IMAGES * line['epochs'] / 1e6:,.0f} | {line['hours'] / 24:,.0f} |"
        for line in read_lines(docs / "results" / file)
    ]
    return (
        "| recipe | seconds a step | images/s | epochs | images in all, millions | days here |\n"
        "|---|---|---|---|---|---|\n" + "\n".join(rows)
    )


def courses_of(docs: Path, file: str, names: Names, name: str) -> dict[str, list[list[tuple[float, float]]]]:
    """A number of the training over its epochs, for every run of each arm, by what the arm is called."""
    found: dict[str, list[list[tuple[float, float]]]] = {called: [] for called in names.values()}
    for line in lines_of(docs, file, names):
        if line["failed"] is None:
            course = [(point["epoch"], point[name]) for point in line["curves"]["train"]]
            found[names[line["arm"]]].append(course)
    return {called: runs for called, runs in found.items() if runs}


def _environments(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [line["environment"] for line in lines]


def _teacher_ahead(docs: Path, file: str, arm: Arm) -> Spread | None:
    lines = lines_of(docs, file, [arm.name])
    values = [line["measures"]["knn/teacher"] - line["measures"]["knn/student"] for line in lines if not line["failed"]]
    return spread(values) if values else None


def _of(lines: Sequence[Line], name: str, form: str) -> str:
    values = [line["training"][name] for line in lines if name in line.get("training", {})]
    return form.format(spread(values).mean) if values else "–"


def _rank(points: Sequence[tuple[float, float]]) -> str:
    if len(points) < 4:
        return f"n = {len(points)}: too few"
    found = spearmanr(*zip(*points, strict=True))
    return f"{found.statistic:+.2f} (n = {len(points)}, p = {found.pvalue:.2g})"
