"""Run folders to one page: gather what they say, add pictures where the images are at hand, write it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resmom.config import from_json, to_json
from resmom.data.errors import DataError
from resmom.data.open import open_data, taken_apart
from resmom.data.source import Data
from resmom.diagnose.rules import findings, too_short, unjudged
from resmom.errors import RunDirError, UserError
from resmom.export import record
from resmom.jsonfiles import read_lines
from resmom.nets.norms import Normed
from resmom.report.compare import flat
from resmom.report.contents import Choice, Contents, Line, Measure, Rows, RunPictures, RunRecord, Start, ViewSheet
from resmom.report.numbers import small
from resmom.report.page import page
from resmom.report.pagefile import require_ours, write_page
from resmom.rundir import RunDir, run_of
from resmom.runs.comparisons.base import per_epoch_of
from resmom.runs.environment import last_part, prose_without_folders, without_folders
from resmom.runs.finetuned.detection_record import detection_record, is_detection
from resmom.runs.finetuned.segmentation_record import is_segmentation, segmentation_record
from resmom.runs.loaded import Loaded, load_run, normed_as_kept
from resmom.runs.measuring.evaluations import evaluations
from resmom.runs.outcome import before_after
from resmom.runs.reporting.passedon import names_of, without_places
from resmom.runs.reporting.pictures import Drawn, draw_images, run_pictures, view_rows
from resmom.train.plan import length
from resmom.version import VERSION

Say = Callable[[str], None]
"""Tells what is being worked on, before it is done."""


def _nothing(words: str) -> None: ...


def report(
    paths: str | Path | Sequence[str | Path],
    out: str | Path = "report.html",
    images: bool = True,
    say: Say = _nothing,
) -> Path:
    """Write a page about one or more run folders, or folders of detectors or segmentation networks, to `out`; returns
    it.

    With `images` it shows some of the images a run was trained on, and some that detectors and segmentation networks
    were measured on, where they are still at hand; without, no pixel of them. `say` is told of an earlier report that
    is replaced, and of every folder for which pictures are made, which takes some seconds each. Raises RunDirError for
    what is no run folder, ReportError for an `out` that is something else than an earlier report.
    """
    out = Path(out)
    folders, tuned = sorted_out([paths] if isinstance(paths, str | Path) else paths)
    require_ours(out)
    if out.exists():
        say(f"the report in {out} is replaced")
    write_page(out, page(gather(folders, images, tuned, say)))
    return out


def sorted_out(paths: Sequence[str | Path]) -> tuple[list[RunDir], list[Path]]:
    """The run folders among these, and the folders of detectors and segmentation networks, each once.

    Raises RunDirError for what is neither.
    """
    given = [Path(path) for path in paths]
    tuned = list({path.resolve(): path for path in given if is_detection(path) or is_segmentation(path)}.values())
    others = [path for path in given if not (is_detection(path) or is_segmentation(path))]
    return _folders(others) if others or not tuned else [], tuned


def gather(folders: Sequence[RunDir], images: bool = True, tuned: Sequence[Path] = (), say: Say = _nothing) -> Contents:
    """All that the page will say of these run folders and folders of detectors and of segmentation networks."""
    names = names_of([*(folder.path for folder in folders), *tuned])
    measured = evaluations(folders)
    gathered = without_places([_record(*of) for of in zip(folders, names[: len(folders)], measured, strict=True)])
    sheets: tuple[ViewSheet, ...] = ()
    if images:
        gathered, sheets = _with_pictures(folders, gathered, say)
    made = f"Made by resmom {VERSION} on {datetime.now(UTC).date().isoformat()}"
    named = [(path, name, _starts(path)) for path, name in zip(tuned, names[len(folders) :], strict=True)]
    detections, segmentations = [], []
    for of in named:
        say(f"{'photos' if images else 'numbers'} of {of[1]}")
        if is_detection(of[0]):
            detections.append(detection_record(*of, images))
        else:
            segmentations.append(segmentation_record(*of, images))
    return Contents(gathered, sheets, made, images, detections, segmentations)


def _folders(paths: Sequence[Path]) -> list[RunDir]:
    """The run folders, each once. A checkpoint stands for its folder: a page is about a run."""
    if not paths:
        raise RunDirError("no run was given; name at least one run folder")
    found: dict[Path, RunDir] = {}
    for path in paths:
        folder = run_of(path, "a page is about what was measured in a run")
        found.setdefault(folder.path.resolve(), folder)
    return list(found.values())


def _record(folder: RunDir, name: str, measured: Sequence[Line]) -> RunRecord:
    written = folder.written()
    run = from_json(written["run"])
    config = to_json(run)  # with the defaults of fields that the run is older than
    lines = read_lines(folder.metrics)
    step = max((line["step"] for line in lines), default=0)
    per_epoch = per_epoch_of(run, written, lines)
    steps = None if per_epoch is None else length(run.train, per_epoch)
    options = flat(config)
    own = {f"own.{part}": value for part, value in written.get("own", {}).items()}
    where = normed_as_kept(folder)
    places = _places(folder, written)
    tested = {"test images": written["test"]} if written.get("test") else {}  # by others, runs are no repetitions
    return RunRecord(
        name=name,
        config={"data": written["data"], "images": written.get("images"), **tested, **own, **options},
        seed=run.train.seed,
        data=record.data(written, per_epoch, run.train.batch),
        settings=_settings(config, written, run.method.traits.teacher, where),
        choices=[
            Choice(*(prose_without_folders(str(choice[part]), *places) for part in ("option", "value", "reason")))
            for choice in written.get("choices", ())
        ],
        starts=_starts(folder.path),
        step=step,
        steps=steps,
        seconds=record.trained_seconds(lines),
        lines=lines,
        evaluations=measured,
        measures=_measures(lines),
        findings=findings(lines, steps or step),
        unjudged=unjudged(lines, steps or step, step, None if where is None else where.backbone),
        short=bool(too_short(step)),
    )


def _places(folder: RunDir, written: Mapping[str, Any] | None = None) -> list[str]:
    """Where a run and what it was made of lie, as messages may name it."""
    written = folder.written() if written is None else written
    data = taken_apart(str(written["data"]))[0]
    return [str(folder.path), data, data.partition(":")[2], str(written["run"].get("init") or "")]


def _settings(config: Mapping[str, Any], written: Mapping[str, Any], teacher: bool, where: Normed | None) -> Rows:
    """The settings in words; the seed, which tells runs apart, stands elsewhere."""
    own = written.get("own", {})
    rows = []
    has = teacher or "method" in own
    for name, value in record.settings(config, has, own, written.get("resampled", ""), where):
        if name == "precision, seed":
            rows.append(("precision", config["train"]["precision"]))
        else:
            rows.append((name, value))
    return rows


def _starts(folder: Path) -> list[Start]:
    return [_start(line) for line in read_lines(RunDir(folder).environment)]


def _start(line: Line) -> Start:
    gpus = ", ".join(line.get("gpu") or ())
    cores, threads = (small(int(line.get(what, 0)), what[:-1]) for what in ("cores", "threads"))
    machine = gpus or f"{line.get('cpu', '')}, {cores}, {threads}"
    processes = line.get("world", 1)
    return Start(
        time=str(line.get("time", "")).replace("T", " ").replace("+00:00", " UTC"),
        machine=machine if processes == 1 else f"{machine}; {processes} processes",
        resmom=f"{line.get('resmom', '?')}, commit {line.get('commit') or 'not known'}",
        versions=", ".join(
            [f"Python {line.get('python', '?')}", *(f"{name} {v}" for name, v in line.get("packages", {}).items())]
        ),
        command=" ".join(last_part(str(word)) for word in line.get("command", ())),
    )


def _measures(lines: Sequence[Line]) -> list[Measure]:
    """Before against after, the two networks side by side."""
    changes = before_after(lines)
    found = []
    for quantity in dict.fromkeys(change.quantity for change in changes):
        own = {change.network: change for change in changes if change.quantity == quantity}
        first = next(iter(own.values()))
        before = next((change.before for change in own.values() if change.before is not None), None)
        student, teacher = (own[network].after if network in own else None for network in ("student", "teacher"))
        found.append(Measure(quantity, before, student, teacher, first.better, first.protocol))
    return found


@dataclass
class _Opened:
    """Images opened once for all runs that were trained on them, or the reason why they cannot be shown."""

    data: dict[str, Data | str] = field(default_factory=dict)
    drawn: dict[str, Drawn] = field(default_factory=dict)

    def open(self, loaded: Loaded) -> Data | str:
        try:
            spec = loaded.data
        except DataError:
            return "its images were given in Python and are not at hand"
        if spec not in self.data:
            try:
                self.data[spec] = open_data(spec)
            except UserError as error:
                why = without_folders(str(error), *_places(loaded.folder, loaded.written))
                self.data[spec] = f"its images cannot be read ({why})"
        found = self.data[spec]
        if isinstance(found, Data) and found.train.fingerprint() != loaded.content["data"]:
            return "its images are no longer those that it was trained on"
        return found


def _with_pictures(
    folders: Sequence[RunDir], gathered: Sequence[RunRecord], say: Say
) -> tuple[list[RunRecord], tuple[ViewSheet, ...]]:
    opened = _Opened()
    sheets: dict[str, ViewSheet] = {}
    records = []
    for folder, run in zip(folders, gathered, strict=True):
        say(f"pictures of {run.name}: views, neighbours, map")
        made = _pictures(folder, run.name, opened, sheets)
        if isinstance(made, str):
            records.append(replace(run, no_pictures=f"No pictures of {run.name}: {made}."))
        else:
            records.append(replace(run, pictures=made))
    return records, tuple(sheets.values())


def _pictures(folder: RunDir, name: str, opened: _Opened, sheets: dict[str, ViewSheet]) -> RunPictures | str:
    """The pictures of a run, or why there are none. Runs with the same images and policy share a sheet of views."""
    if not folder.last.exists():
        return "it has no checkpoint"
    try:
        loaded = load_run(folder.path)
    except UserError as error:
        return f"its networks cannot be loaded ({without_folders(str(error), *_places(folder))})"
    data = opened.open(loaded)
    if isinstance(data, str):
        return data
    spec, run = loaded.data, loaded.run
    key = json.dumps([spec, to_json(run)["policy"]])
    if key in sheets:
        sheets[key] = replace(sheets[key], runs=(*sheets[key].runs, name))
    else:
        sheets[key] = ViewSheet((name,), view_rows(run, data.train))
    if spec not in opened.drawn:
        opened.drawn[spec] = draw_images(data)
    return run_pictures(loaded, opened.drawn[spec])
