"""What a path is that names no run where one is wanted, and what takes it, in words. No torch."""

import os
from itertools import islice
from pathlib import Path

from resmom.called import either, setting, verb
from resmom.nearest import similar

CONFIG = "run.json"
"""What makes a folder that of a run."""
CELLS = "cells.jsonl"
"""What makes a folder that of a comparison."""
WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
"""Ends of files that weights are kept in."""
PICTURES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Ends of files that are one image."""
IMAGES = (".npz", ".npy", ".parquet", ".tar", ".txt", ".csv", ".tsv", ".zip", *PICTURES)
"""Ends of files that images are in, or named in."""
PUBLIC = ("cifar10", "cifar100", "stl10")
"""Names of public images."""
PACK = "pack.json"
"""What makes a folder that of packed images."""
PUBLISHED = "timm:"
"""How names of published weights begin."""
TUNED = (("detect", "detectors", "load_detector"), ("segment", "segmentation networks", "load_segmenter"))
"""Verbs that fine-tune: what is in their folders, and what reads it in Python."""
_LOOKED = 1000
"""Files of a folder that are looked at, at least, for one that is an image."""
_ABOVE = 3
"""Folders above a path that may be that of the run it lies in: checkpoints/, wandb/NAME/files/ …"""


def no_run(path: Path, needs: str = "") -> str:
    """Why `path` is no run, and what to do.

    `needs`: what is done with a run that cannot be done with weights, a clause such as "a page is about measurements".
    """
    if names_weights(path):
        run, above = _run_above(path), tuned(path)
        where = f"; the run in whose folder they lie is {run}" if run else ""
        return not_weights(path, needs) + (f"; {above}" if above else where)
    if not path.exists():
        return _absent(path)
    for told in (tuned, _comparison, _inside, _near, _weights_in, _images, _far):
        if words := told(path):
            return words
    if path.is_file():
        return f"{path} is no run folder, and no file in the checkpoints/ folder of one"
    return f"{path} is not a run folder: it has no {CONFIG} (start a run with {verb('pretrain')})"


def no_weights(folder: Path) -> str:
    """What to name in place of a folder that was named as a file of weights."""
    files = [file for file in _ending(folder, WEIGHTS) if _named_as_weights(file)]
    if (folder / CONFIG).is_file():
        files = _ending(folder / "export", WEIGHTS) or _ending(folder / "checkpoints", ("last.pt",))
        return f"{folder} is a run folder; " + (
            f"name a file of its weights: {_some(files)}" if files else "it has no checkpoint, and so no weights, yet"
        )
    if files:
        return f"{folder} is a folder; name one of its files, such as {files[0]}"
    return f"{folder} is a folder; give the file, as in RUN/checkpoints/last.pt or model.safetensors"


def names_weights(path: Path | str) -> bool:
    """Whether what is named as a run are weights: a file of them, or a model of timm's."""
    file = Path(path)
    return str(path).startswith(PUBLISHED) or (
        _named_as_weights(file) and file.is_file() and run_of_checkpoint(file) is None
    )


def not_weights(path: Path | str, needs: str = "") -> str:
    """That weights are no run, and what takes them. `needs` as for `no_run`."""
    return f"{path} is weights, not a run{needs and f', and {needs}'}: {_taken(path)}"


def _taken(path: Path | str) -> str:
    """What takes weights."""
    return either(
        f"name them by --init {path}, which pretrain, compare, evaluate, embed, export, detect train and segment train "
        "have",
        f"resmom.weights({str(path)!r}) measures, embeds and exports them, and pretrain starts from them with "
        f"init={str(path)!r}",
    )


def tuned(path: Path) -> str:
    """What takes a folder of fine-tuned backbones, and what lies in one; empty for others."""
    for folder in _above(path):
        for task, things, load in TUNED:
            if (folder / f"{task}.json").is_file():
                where = "" if folder == path else f"{path} lies in {folder}: "
                return (
                    f"{where}{folder} holds {things}, not a run; it is for `resmom {task} resume` or `evaluate`, "
                    f"`resmom predict`, {verb('report')}, and in Python for `resmom.{load}`"
                )
    return ""


def is_images(path: Path) -> bool:
    """Whether a file or folder looks like images."""
    return path.suffix.lower() in IMAGES if path.is_file() else _pictured(path)


def run_of_checkpoint(file: Path) -> Path | None:
    """The run in whose checkpoints/ a file lies; None for another file."""
    folder = file.parent.resolve() if file.parent.name in ("", "..") else file.parent
    return folder.parent if folder.name == "checkpoints" and (folder.parent / CONFIG).is_file() else None


def _named_as_weights(file: Path) -> bool:
    """Archives are images, unless they are called as those of old: model.pth.tar."""
    return file.suffix in WEIGHTS and (file.suffix != ".tar" or Path(file.stem).suffix in WEIGHTS)


def _absent(path: Path) -> str:
    """Of a path that is not there."""
    if str(path).partition(":")[0] in PUBLIC:
        return _named_data(path)
    if (run := _run_above(path)) and (there := _ending(run / "checkpoints", (".pt",))):
        return f"{path} does not exist; the checkpoints of {run} are {_some(there)}"
    beside = map(str, (config.parent for config in path.parent.glob(f"*/{CONFIG}")))
    near = similar(str(path), beside, 1) or f"; name a run folder (start a run with {verb('pretrain')})"
    if _named_as_weights(path) and path.parent.name != "checkpoints":
        near = f", and would be weights, not a run: {_taken(path)}"
    return f"{path} does not exist{near}"


def _comparison(path: Path) -> str:
    """Of the folder of a comparison, and of its files."""
    folder = path.parent if path.is_file() else path
    if not (folder / CELLS).is_file():
        return ""
    table = either(f"`resmom compare show {folder}`", f"`resmom.comparison({str(folder)!r})`")
    page = either(f"`resmom report {folder}/*/*`", "`resmom.report` of a list of them")
    runs = _runs(folder, f"*/*/{CONFIG}")
    return (
        f"{folder} holds a comparison, not a run; its runs are {_some(runs) if runs else f'{folder}/ARM/seed-S'}, and "
        f"{table} is its table (all runs on one page: {page})"
    )


def _inside(path: Path) -> str:
    """Of what lies in the folder of a run."""
    run = _run_above(path)
    return f"{path} lies in the folder of a run; name that: {run}" if run else ""


def _near(path: Path) -> str:
    return _with_runs(path, _runs(path, f"*/{CONFIG}"))


def _far(path: Path) -> str:
    return _with_runs(path, _runs(path, f"*/*/{CONFIG}"))


def _with_runs(path: Path, runs: list[Path]) -> str:
    """Of a folder of runs, such as those of an arm."""
    return f"{path} is not a run folder, but has some inside: {_some(runs)}; name one of them" if runs else ""


def _weights_in(path: Path) -> str:
    """Of a folder of weights, such as one of another program."""
    found = [file for file in _ending(path, WEIGHTS) if _named_as_weights(file)]
    if (path / PACK).is_file():  # of images, in files that also end in .bin
        return ""
    ways = either("are named by --init", "are read by resmom.weights")
    return f"{path} is no run folder; weights without a run {ways}, such as {found[0]}" if found else ""


def _images(path: Path) -> str:
    return _named_data(path) if is_images(path) else ""


def _named_data(path: Path) -> str:
    return f"{path} looks like images, not a run; images are named with {setting('data', str(path))}"


def _pictured(folder: Path) -> bool:
    """Whether images, or archives of such, lie in a folder, as far as its first files tell."""
    looked = 0
    for _, _, files in os.walk(folder):
        if any(Path(name).suffix.lower() in (*PICTURES, ".tar", ".parquet") or name == PACK for name in files):
            return True
        looked += len(files)
        if looked > _LOOKED:
            break
    return False


def _run_above(path: Path) -> Path | None:
    """The folder of the run that a path lies in, but for the path itself."""
    return next((folder for folder in _above(path) if folder != path and (folder / CONFIG).is_file()), None)


def _above(path: Path) -> list[Path]:
    """A path and the folders above it: as they are named, and where their names have an end, by whole ones."""
    named = (path, *islice(path.parents, _ABOVE))
    return list(dict.fromkeys((*named, *islice(path.absolute().parents, _ABOVE))))


def _runs(folder: Path, pattern: str) -> list[Path]:
    return sorted(config.parent for config in folder.glob(pattern))


def _ending(folder: Path, ends: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(file for file in folder.iterdir() if file.name.endswith(ends) and file.is_file())


def _some(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(str, paths[:3])) + more
