"""Export a run: the backbones of student and teacher as files for other tools, and a card that says what they are."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from resmom.checkpoint import load_checkpoint
from resmom.config import Run, from_json, to_json
from resmom.data.order import steps_per_epoch
from resmom.diagnose.rules import findings, unjudged
from resmom.errors import RunDirError
from resmom.export import record
from resmom.export.card import Card, File, Number, model_card
from resmom.export.choice import Evidence, Preference, advice, minding, neither, prefer
from resmom.export.detectron2 import configuration_lines, require_detectron2, save_detectron2
from resmom.export.keep import FORMAT, preference
from resmom.export.keep import rows as rows_of
from resmom.export.loading import loading_lines, preparing_lines, width_lines
from resmom.export.weights import About, exported, save_weights
from resmom.nets.backbones import BackboneConfig
from resmom.ondisk import read_lines, read_object, write_whole
from resmom.rundir import RunDir, find_run
from resmom.runs.loaded import no_teacher
from resmom.runs.measuring.evaluations import evaluations
from resmom.runs.outcome import before_after
from resmom.runs.own import part_words, title_words
from resmom.train.plan import length
from resmom.views.policy import Policy
from resmom.which import Network, Which

CARD = "README.md"
NETWORKS: tuple[Network, ...] = ("student", "teacher")
Form = Literal["safetensors", "detectron2"]


@dataclass(frozen=True)
class Exported:
    """Where the files are."""

    folder: Path
    files: tuple[Path, ...]
    step: int
    """Of the weights."""
    advice: str
    """Which network to take and why, or that none should be; as the card says it."""
    chosen: str = ""
    """What `resmom evaluate --all` said, where it was gone by."""


def export(
    path: Path,
    out: Path | None = None,
    network: Which = "both",
    form: Form = "safetensors",
) -> Exported:
    """Write the backbones of a run folder's last checkpoint, or of one checkpoint file, and their card to `out`.

    Where `resmom evaluate --all` chose a kept checkpoint of a run folder that has not gone on since, it is that one.
    `out` is RUN/export (RUN/detectron2 for that form) by default and may hold an earlier export, which is replaced.
    All files are written under a temporary name first. Neither images nor networks are needed, only the run's own
    files. Raises RunDirError or CheckpointError for a run that cannot be read, RunDirError for an `out` that is a run,
    a file, or a folder of other files, UserError for the teacher of a run that has none, and for a backbone that the
    form cannot hold.
    """
    folder, checkpoint = find_run(path)
    own = folder.export if form == "safetensors" else folder.path / form
    _require_free(out or own, own)
    out = out or own
    content, choice = _chosen(folder, checkpoint, named=path.is_file())
    written = folder.written()
    run = from_json(content["run"])
    there = NETWORKS if content["state"]["teacher"] is not None else NETWORKS[:1]
    if network == "teacher" and network not in there:
        raise no_teacher(run, written)
    chosen = there if network == "both" else (network,)
    if form == "detectron2":
        require_detectron2(None if written.get("own", {}).get("backbone") else run.backbone)
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".part", dir=out.parent))
    try:
        card = _write(draft, folder, run, written, content, chosen, choice, form)
        names = _publish(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    files = tuple(out / name for name in names)
    told = " ".join(advice(card.preference, card.files, card.teacher)).strip()
    return Exported(out, files, content["state"]["step"], told, choice["sentence"] if choice else "")


def _chosen(folder: RunDir, checkpoint: Path, named: bool) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The checkpoint to export, and the choice that speaks of it, if one does. `named`: it was asked for by its file,
    so that no other one takes its place.
    """
    content = load_checkpoint(checkpoint)
    choice = read_object(folder.choice) if folder.choice.exists() else None
    if choice is None or choice["format"] != FORMAT:
        return content, None
    step = content["state"]["step"]
    better = folder.kept(choice["step"])
    # A choice made before the run went on says nothing of what came since.
    if not named and step == choice["last_step"] != choice["step"] and better.exists():
        return load_checkpoint(better), choice
    return content, choice if step == choice["step"] else None


def file_of(network: Network, form: Form = "safetensors") -> str:
    """The name of a network's file in an exported folder."""
    return f"backbone-{network}.{'safetensors' if form == 'safetensors' else 'pth'}"


def _require_free(out: Path, own: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RunDirError(f"{out} is a file; --out must be a folder: a new one, or that of an earlier export")
    if RunDir(out).config.exists():
        raise RunDirError(f"{out} is a run folder (`resmom resume` continues it); give another --out")
    if out != own and out.exists() and any(out.iterdir()) and not any((out / name).exists() for name in _ours()):
        raise RunDirError(
            f"{out} holds other files, and an export would replace a {CARD} there; --out must be a new or empty "
            "folder, or that of an earlier export"
        )


def _ours() -> set[str]:
    """The weights that an export may hold."""
    return {file_of(network, form) for network in NETWORKS for form in get_args(Form)}


def _publish(draft: Path, out: Path) -> list[str]:
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
    folder: RunDir,
    run: Run,
    written: dict[str, Any],
    content: dict[str, Any],
    chosen: Sequence[Network],
    choice: dict[str, Any] | None,
    form: Form,
) -> Card:
    own = written.get("own", {}).get("backbone")
    config: BackboneConfig | None = None if own else run.backbone
    state, policy = content["state"], run.policy
    for network in chosen:
        about = About(
            network=network,
            architecture=own or to_json(run)["backbone"],
            step=state["step"],
            mean=policy.mean,
            std=policy.std,
            side=policy.views[0].size,
        )
        save = save_weights if form == "safetensors" else save_detectron2
        save(draft / file_of(network, form), exported(state[network], config), about)
    files = {network: _file(config, policy, file_of(network, form), form) for network in chosen}
    card = _card(folder, run, written, content, config, files, choice)
    write_whole(draft / CARD, f"{model_card(card).rstrip()}\n")
    return card


def _file(config: BackboneConfig | None, policy: Policy, name: str, form: Form) -> File:
    if form == "detectron2":
        lines = configuration_lines(require_detectron2(config), policy.mean, policy.std, name)
        return File(name, lines, detectron2=True)
    return File(name, loading_lines(config, name))


def _card(
    folder: RunDir,
    run: Run,
    written: dict[str, Any],
    content: dict[str, Any],
    config: BackboneConfig | None,
    files: Mapping[Network, File],
    choice: dict[str, Any] | None,
) -> Card:
    step, policy = content["state"]["step"], run.policy
    lines = [line for line in read_lines(folder.metrics) if line["step"] <= step]
    per_epoch = _per_epoch(run, written, content)
    steps = content.get("steps", None if per_epoch is None else length(run.train, per_epoch))
    planned = step if steps is None else steps
    health = record.newest(lines, "health")
    plain = to_json(run)
    teacher = content["state"]["teacher"] is not None
    measured = [row for row in evaluations([folder])[0] if row["step"] == step]
    # What was measured again in the same way is told once, the newest.
    rows = list({(row["network"], row["data"], row["protocol"]): row for row in measured}.values())
    return Card(
        title=f"{title_words(written, run)}, {part_words(written, run, 'backbone')}",
        made=_made(files, teacher),
        step=step,
        steps=steps,
        data=record.data(written, per_epoch, run.train.batch),
        settings=record.settings(plain, teacher, written.get("own", {})),
        machine=record.machine(read_lines(folder.environment), lines),
        numbers=_numbers(lines),
        measured=record.when(lines),
        gaps=record.gaps(health),
        gap_protocol=f"{health.get('protocol', 'no protocol recorded')}, step {health.get('step')}",
        evaluations=[(row["network"], row["data"], _top1(row), row["protocol"]) for row in rows],
        findings=[
            f"**{finding.name}** (step {finding.step}): {finding.words} {finding.remedy}"
            for finding in findings(lines, planned)
        ],
        unjudged=unjudged(lines, planned, step),
        teacher=teacher,
        preference=_preference(record.evidence(lines, planned, step), choice, teacher),
        mean=policy.mean,
        std=policy.std,
        side=policy.views[0].size,
        prepare=preparing_lines(policy.mean, policy.std, policy.views[0].size, policy.views[0].interpolation),
        width=width_lines(config),
        files=files,
        images=health.get("images"),
        earlier=choice is not None and step < choice["last_step"],
        candidates=[] if choice is None else rows_of(choice),
    )


def _top1(row: Mapping[str, Any]) -> str:
    """In percent; of repetitions their mean, sample standard deviation and number."""
    each = row.get("draws") or ()
    return f"{row['top1']:.2f}" + (f" ± {row['sd']:.2f} (n={len(each)})" if len(each) > 1 else "")


def _made(files: Mapping[Network, File], teacher: bool) -> str:
    if len(files) > 1:
        return "Image encoders pretrained without labels: a student and its momentum teacher, backbones only."
    whose = {"student": "student of a momentum teacher", "teacher": "momentum teacher of a student"}[next(iter(files))]
    return f"An image encoder pretrained without labels{f', the {whose}' if teacher else ''}, backbone only."


def _preference(evidence: Evidence, choice: dict[str, Any] | None, teacher: bool) -> Preference:
    """What is wrong with a run goes before what anything measured of it says."""
    if choice is None and teacher:
        return prefer(evidence)
    if (unfit := neither(evidence, None if choice is None else choice["network"])) is not None:
        return unfit
    return Preference("student", True, "") if choice is None else minding(evidence, preference(choice))


def _per_epoch(run: Run, written: dict[str, Any], content: dict[str, Any]) -> int | None:
    """Steps of an epoch; None where neither the number of images nor the progress tells it."""
    if "images" in written:
        return steps_per_epoch(written["images"], run.train.batch)
    return round(content["state"]["step"] / content["epoch"]) if content["epoch"] else None


def _numbers(lines: Sequence[Mapping[str, Any]]) -> list[Number]:
    """Before against after, the two networks side by side; then the online classifier."""
    changes = before_after(lines)
    numbers = []
    for quantity in dict.fromkeys(change.quantity for change in changes):
        own = {change.network: change for change in changes if change.quantity == quantity}
        before = next((change.before for change in own.values() if change.before is not None), None)
        student, teacher = (own[name].after if name in own else None for name in NETWORKS)
        numbers.append(Number(quantity, before, student, teacher, next(iter(own.values())).protocol))
    online = record.newest(lines, "online")
    if online and online["step"]:
        numbers.append(Number("online classifier top-1 (%)", None, online["student"], None, online["protocol"]))
    return numbers
