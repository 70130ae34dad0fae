"""Export a run: the backbones of student and teacher as files for other tools, and a card that says what they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from resmom.build import Own
from resmom.called import called, either
from resmom.checkpoint import load_checkpoint
from resmom.config import Run, from_json, to_json
from resmom.errors import RunDirError
from resmom.export.card import model_card
from resmom.export.choice import advice
from resmom.export.detectron2 import configuration_lines, require_detectron2, save_detectron2
from resmom.export.keep import read_choice
from resmom.export.loading import loading_lines, session_lines
from resmom.export.onnx import Checked, parts, require_onnx
from resmom.export.use import File
from resmom.export.weights import About, exported, save_weights
from resmom.nets.backbones import BackboneConfig
from resmom.ondisk import draft_beside, write_whole
from resmom.rundir import RunDir, find_run
from resmom.runs.exporting.card import NETWORKS, card_of
from resmom.runs.exporting.onnxfiles import checked_words, write_onnx
from resmom.runs.loaded import no_teacher
from resmom.runs.own import config_of, given
from resmom.views.policy import Policy
from resmom.which import Alone, Form, Network, Which

CARD = "README.md"


@dataclass(frozen=True)
class Exported:
    """Where the files are."""

    folder: Path
    files: tuple[Path, ...]
    step: int | None
    """Of the weights; None of weights without a run."""
    advice: str
    """Which network to take and why, or that none should be; as the card says it."""
    chosen: str = ""
    """What `resmom evaluate --all` said, where it was gone by."""
    checked: Mapping[str, Checked] = field(default_factory=dict)
    """Of ONNX files: what was found when they were run."""


def export(
    path: Path,
    out: Path | None = None,
    network: Which = "both",
    form: Form = "safetensors",
    own: Own | None = None,
) -> Exported:
    """Write the backbones of a run folder's last checkpoint, or of one checkpoint file, and their card to `out`.

    Where `resmom evaluate --all` chose a kept checkpoint of a run folder that has not gone on since, it is that one.
    `out` is RUN/export (RUN/detectron2 or RUN/onnx for these forms) by default and may hold an earlier export, which is
    replaced. All files are written under a temporary name first. Images are not needed, only the run's own files; nor
    are networks, but for ONNX, for which `own` brings what the run was given from Python.

    Raises RunDirError or CheckpointError for a run that cannot be read, RunDirError for an `out` that is a run, a file,
    or a folder of other files, UserError for the teacher of a run that has none, for a backbone that the form cannot
    hold, and where packages for ONNX are missing, and what `write_onnx` raises.
    """
    folder, checkpoint = find_run(path)
    usual = folder.export if form == "safetensors" else folder.path / form
    out = out or usual
    require_free(out, usual)
    content, choice = _chosen(folder, checkpoint, named=path.is_file())
    written = folder.written()
    run = from_json(content["run"])
    there = NETWORKS if content["state"]["teacher"] is not None else NETWORKS[:1]
    if network == "teacher" and network not in there:
        raise no_teacher(run, written)
    chosen = there if network == "both" else (network,)
    config = config_of(written, run)
    if form == "detectron2":
        require_detectron2(config)
    if form == "onnx":
        require_onnx()
    with draft_beside(out) as draft:
        made = _write(draft, run, written, content, chosen, form, own or Own())
        files = {name: file_with(config, run.policy, file_of(name, form), form, found) for name, found in made.items()}
        card = card_of(folder, run, written, content, config, files, choice)
        write_whole(draft / CARD, f"{model_card(card).rstrip()}\n")
        names = publish(draft, out)
    told = " ".join(advice(card.preference, card.files, card.teacher)).strip()
    return Exported(
        out,
        tuple(out / name for name in names),
        content["state"]["step"],
        told,
        choice["sentence"] if choice else "",
        {name: found for name, found in made.items() if found is not None},
    )


def _chosen(folder: RunDir, checkpoint: Path, named: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The checkpoint to export, and the choice that speaks of it, if one does. `named`: it was asked for by its file,
    so that no other one takes its place.
    """
    content = load_checkpoint(checkpoint)
    choice = read_choice(folder.choice)
    if choice is None:
        return content, None
    step = content["state"]["step"]
    better = folder.kept(choice["step"])
    # A choice made before the run went on says nothing of what came since.
    if not named and step == choice["last_step"] != choice["step"] and better.exists():
        return load_checkpoint(better), choice
    return content, choice if step == choice["step"] else None


def file_of(network: str, form: Form = "safetensors") -> str:
    """The name of a network's file in an exported folder: student's or teacher's, or that of weights by themselves."""
    return f"backbone-{network}.{'pth' if form == 'detectron2' else form}"


def require_free(out: Path, own: Path | None = None) -> None:
    """Raise RunDirError for a file, a run, and a folder of other files, unless it is the `own` one of a run."""
    if out.exists() and not out.is_dir():
        raise RunDirError(f"{out} is a file; {called('out')} must be a folder: a new one, or that of an earlier export")
    if RunDir(out).config.exists():
        resume = either("`resmom resume`", "resmom.resume")
        raise RunDirError(f"{out} is a run folder ({resume} continues it); give another {called('out')}")
    if out != own and out.exists() and any(out.iterdir()) and not any((out / name).exists() for name in _ours()):
        raise RunDirError(
            f"{out} holds other files, and an export would replace a {CARD} there; {called('out')} must be a new or "
            "empty folder, or that of an earlier export"
        )


def _ours() -> set[str]:
    """The weights that an export may hold."""
    names = [Path(file_of(network, form)) for network in (*NETWORKS, *get_args(Alone)) for form in get_args(Form)]
    return {part.name for name in names for part in parts(name)}


def publish(draft: Path, out: Path) -> list[str]:
    """Move the finished files to their place; the card last, and what an earlier export left away first."""
    names = sorted((entry.name for entry in draft.iterdir()), key=lambda name: (name == CARD, name))
    out.mkdir(exist_ok=True)
    for stale in {CARD, *_ours()} - set(names):
        (out / stale).unlink(missing_ok=True)
    for name in names:
        (draft / name).replace(out / name)
    return names


def _write(
    draft: Path,
    run: Run,
    written: dict[str, Any],
    content: dict[str, Any],
    chosen: Sequence[Network],
    form: Form,
    own: Own,
) -> dict[Network, Checked | None]:
    """Write the networks' files. What was found of them, where they were checked."""
    state = content["state"]
    architecture = given(written, "backbone") or to_json(run)["backbone"]
    made: dict[Network, Checked | None] = {}
    for network in chosen:
        about = About.of(network, architecture, state["step"], run.policy)
        path, made[network] = draft / file_of(network, form), None
        if form == "onnx":
            made[network] = write_onnx(path, run, written, own, state[network], about)
            continue
        save = save_weights if form == "safetensors" else save_detectron2
        save(path, exported(state[network], config_of(written, run)), about)
    return made


def file_with(config: BackboneConfig | None, policy: Policy, name: str, form: Form, found: Checked | None) -> File:
    """What the card says of a file."""
    if form == "detectron2":
        lines = configuration_lines(require_detectron2(config), policy.mean, policy.std, name)
        return File(name, lines, form)
    if found is not None:
        return File(name, session_lines(name), form, checked_words(found))
    return File(name, loading_lines(config, name))
