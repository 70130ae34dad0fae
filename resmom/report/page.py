"""Contents to one HTML page that needs nothing else: style, script, charts and pictures are in it."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from resmom.diagnose.labelfree import meanings
from resmom.ondisk import encoded
from resmom.report import detection, numbers, segmentation, tuned, words
from resmom.report.charts import Drawn, drawn
from resmom.report.colours import ink, wheel
from resmom.report.compare import Table, by_protocol, differences, letters, table
from resmom.report.contents import Choice, Contents, Measure, Picture, RunPictures, RunRecord
from resmom.report.embedding import COLUMNS, ROWS
from resmom.report.maskcolours import class_colour
from resmom.report.pagefile import MARKER

MOST_CLASSES = 12
"""More classes than this cannot be told apart by colour."""

KINDS = {"knn": "kNN", "low": "few labels", "finetune": "fine-tuned", "sweep": "best layer"}
"""Kinds of protocols by the beginnings of their names, where these say it less well."""

BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": ""}


def page(contents: Contents) -> str:
    """The whole page as text. A pure function."""
    runs = contents.runs
    compared = table(runs)
    sections = drawn(runs)
    plots = _tuned_charts(contents, sum(len(charts) for _, charts in sections))
    pictured = [(index, run) for index, run in enumerate(runs) if run.pictures is not None]
    most = min(MOST_CLASSES, max((len(run.pictures.classes) for run in runs if run.pictures is not None), default=0))
    shared, differing = _settings(runs)
    gallery = _gallery(contents)
    quantities = _quantities(runs)
    shows_pictures = contents.images and (bool(contents.sheets) or bool(pictured) or any(r.no_pictures for r in runs))
    values: dict[str, Any] = {
        "marker": MARKER,
        "names": [*(run.name for run in runs), *(record.name for record in contents.tuned)],
        "runs": runs,
        "title": words.title(runs, compared) if runs else _tuned_title(contents),
        "gap": words.gap(runs[0]) if runs else "",
        "group_lines": [(group, words.group_line(group, compared)) for group in compared.groups],
        "contents": _sections(quantities, compared, bool(sections), shows_pictures, contents),
        "shared": shared,
        "differing": differing,
        "quantities": quantities,
        "meanings": _meanings(runs, [name for name, _ in quantities]),
        "derived": _derived(runs),
        "sound": words.sound(runs),
        "not_judged": words.not_judged(runs),
        "protocols": list(dict.fromkeys(m.protocol for run in runs for m in run.measures if m.protocol)),
        "compared": compared,
        "letters": letters(compared),
        "by_protocol": by_protocol(compared),
        "uneven": len({group.step for group in compared.groups}) > 1,
        "most_seeds": max((len(group.runs) for group in compared.groups), default=0),
        "floors": words.floors(runs),
        "growing": any(run.config.get("train.sizes") for run in runs),
        "repeats": [run.name for group in compared.groups for run in group.repeats],
        "sections": sections,
        "data": _data(contents, [chart for charts in [*(own for _, own in sections), *plots] for chart in charts]),
        "detections": contents.detections,
        "segmentations": contents.segmentations,
        "photographed": any(record.photos for record in contents.tuned),
        "tuned_charts": plots,
        "firsts": tuned.firsts(contents),
        "images": shows_pictures,
        "sheets": contents.sheets,
        "pictured": pictured,
        "columns": COLUMNS,
        "rows": ROWS,
        "absent": list(dict.fromkeys(run.no_pictures for run in runs if run.no_pictures)),
        "gallery": gallery,
        "inks": {
            **{f"ink{number}": ink(number) for number in range(_colours(contents))},
            **{f"class{number}": wheel(number, most) for number in range(most)},
        },
        "most_classes": MOST_CLASSES,
        "made": contents.made,
        "live": contents.live,
        "css": _text("report.css"),
        "script": _text("report.js"),
        "live_script": _text("live.js") if contents.live else "",
        "plotly": _plotly(),
    }
    template = _environment().get_template("report.html")
    size = len(encoded(template.render(values, size=0)))
    return template.render(values, size=size)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("resmom.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.globals.update(
        count=numbers.count,
        percent=numbers.percent,
        of_quantity=numbers.of_quantity,
        setting=numbers.setting,
        duration=numbers.duration,
        small=numbers.small,
        steps=words.steps,
        spread=words.spread,
        spent=words.spent,
        neighbour_words=neighbour_words,
        kinds=KINDS,
        better=BETTER,
        tuned=tuned,
        detection=detection,
        segmentation=segmentation,
        class_colour=class_colour,
    )
    return environment


def _text(name: str) -> str:
    return resources.files("resmom.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    # A closing tag within a string would end the script.
    script: str = get_plotlyjs()
    return script.replace("</script", "<\\/script")


def _sections(
    quantities: Sequence[object], compared: Table, curves: bool, images: bool, contents: Contents
) -> list[tuple[str, str]]:
    runs = len(contents.runs)
    return [
        *([("run", "What was run"), ("health", "Health")] if runs else []),
        *([("before-after", "Before against after")] if quantities else []),
        *([("scores", "Runs compared" if runs > 1 else "Scores")] if compared.columns else []),
        *([("curves", "Curves")] if curves else []),
        *([("detection", "Detection")] if contents.detections else []),
        *([("segmentation", "Segmentation")] if contents.segmentations else []),
        *([("pictures", "Pictures")] if images else []),
        *([("machine", "Machine and versions")] if runs else []),
    ]


def _settings(runs: Sequence[RunRecord]) -> tuple[list[tuple[str, str]], list[str]]:
    """Data and settings that all runs share, and the options that differ."""
    if not runs:
        return [], []
    own = [dict([*run.data, *run.settings]) for run in runs]
    shared = [(name, value) for name, value in own[0].items() if all(each.get(name) == value for each in own)]
    if len({run.seed for run in runs}) == 1:
        shared.append(("seed", str(runs[0].seed)))
    return shared, differences([run.config for run in runs])


def _derived(runs: Sequence[RunRecord]) -> list[tuple[list[int], Sequence[Choice]]]:
    """The settings of runs without a recipe, with their reasons, and the numbers of the runs that have just these."""
    found: list[tuple[list[int], Sequence[Choice]]] = []
    for index, run in enumerate(runs):
        alike = next((indices for indices, choices in found if choices == run.choices), None)
        if alike is not None:
            alike.append(index)
        elif run.choices:
            found.append(([index], run.choices))
    return found


def _meanings(runs: Sequence[RunRecord], quantities: Sequence[str]) -> list[tuple[str, str]]:
    """What each of these says; chance by number where all runs were measured on as many images."""
    counts = {line["images"] for run in runs for line in run.lines if line["kind"] == "health" and "images" in line}
    known = meanings(counts.pop() if len(counts) == 1 else None)
    return [(name, known[name]) for name in quantities if name in known]


def _quantities(runs: Sequence[RunRecord]) -> list[tuple[str, list[tuple[int, Measure]]]]:
    """The measures by quantity, each with the number of its run."""
    found: dict[str, list[tuple[int, Measure]]] = {}
    for index, run in enumerate(runs):
        for measure in run.measures:
            found.setdefault(measure.quantity, []).append((index, measure))
    return list(found.items())


def _data(contents: Contents, charts: Sequence[Drawn]) -> dict[str, Any]:
    """What the script draws. Colours go by place in `runs`: the runs', then those of fine-tuned networks."""
    names = [each.name for record in contents.tuned for each in record.networks]
    plain = [
        {"id": f"chart{chart.number}", "log": chart.logarithmic, "zero": chart.chart.from_zero, "over": chart.over,
         "traces": chart.traces}
        for chart in charts
    ]  # fmt: skip
    return {"runs": [*(run.name for run in contents.runs), *names], "charts": plain}


def _colours(contents: Contents) -> int:
    return len(contents.runs) + sum(len(record.networks) for record in contents.tuned)


def _tuned(contents: Contents) -> list[tuple[tuned.Record, tuned.Wording]]:
    """The folders of fine-tuned backbones in the order of the page, each with how its task is spoken of."""
    return [
        *((record, detection.WORDING) for record in contents.detections),
        *((record, segmentation.WORDING) for record in contents.segmentations),
    ]


def _tuned_charts(contents: Contents, number: int) -> list[list[Drawn]]:
    """The charts of each folder of fine-tuned backbones, numbered from `number` on."""
    found = []
    for (record, wording), first in zip(_tuned(contents), tuned.firsts(contents), strict=True):
        found.append(tuned.drawn(record, wording, number, first))
        number += len(found[-1])
    return found


def _tuned_title(contents: Contents) -> str:
    """What the only folder reached; of several, how many there are."""
    if len(contents.tuned) == 1:
        return tuned.title(*_tuned(contents)[0])
    things = [wording.thing for _, wording in _tuned(contents)]
    kinds = [f"{numbers.small(things.count(thing), 'folder')} of {thing}s" for thing in dict.fromkeys(things)]
    title = " and ".join(kinds)
    return f"{title[0].upper()}{title[1:]}."


def _gallery(contents: Contents) -> Mapping[str, str]:
    """Every different image once, by its data URI: the same one is shown in many places."""
    found: dict[str, str] = {}

    def add(*pictures: Picture) -> None:
        for picture in pictures:
            found.setdefault(picture.uri, f"i{len(found)}")

    for sheet in contents.sheets:
        for row in sheet.rows:
            add(row.original, *(view for draw in row.draws for view in draw))
    for run in contents.runs:
        if run.pictures is not None:
            for query in run.pictures.queries:
                add(query.picture, *(query.before or ()), *query.after)
            add(*(point.picture for point in run.pictures.points))
    return found


def neighbour_words(pictures: RunPictures) -> str:
    """How many neighbours have the class of the image they were found for; without labels, how many were searched."""
    searched = f"{numbers.small(len(pictures.queries), 'image')} asked, {numbers.count(pictures.bank)} searched"
    if not pictures.classes:
        return searched
    queries = [query for query in pictures.queries if query.picture.label is not None]

    def share(found: Sequence[tuple[int | None, Sequence[Picture]]]) -> str:
        same = sum(picture.label == label for label, neighbours in found for picture in neighbours)
        return f"{same} of {sum(len(neighbours) for _, neighbours in found)}"

    after = share([(query.picture.label, query.after) for query in queries])
    if any(query.before is None for query in queries):
        return f"{after} neighbours are of the image's own class ({searched})"
    before = share([(query.picture.label, query.before or ()) for query in queries])
    return f"{before} neighbours are of the image's own class before, {after} after ({searched})"
