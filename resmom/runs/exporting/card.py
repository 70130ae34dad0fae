"""The card of an export: what a run folder and a checkpoint say, put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from resmom.config import Run, to_json
from resmom.data.order import steps_per_epoch
from resmom.diagnose.rules import findings, unjudged
from resmom.export import record
from resmom.export.card import Card, Number
from resmom.export.choice import Evidence, Preference, minding, neither, prefer
from resmom.export.keep import preference
from resmom.export.keep import rows as rows_of
from resmom.export.loading import width_lines
from resmom.export.use import File
from resmom.jsonfiles import read_lines
from resmom.methodnames import method_name
from resmom.nets.backbones import BackboneConfig, SmallResNet, name_of
from resmom.nets.norms import normed
from resmom.recipes import RECIPES, base_of, is_derived
from resmom.recipes.words import named
from resmom.rundir import RunDir
from resmom.runs.measuring.evaluations import evaluations
from resmom.runs.outcome import before_after
from resmom.runs.own import given
from resmom.train.plan import length
from resmom.which import Network

NETWORKS: tuple[Network, ...] = ("student", "teacher")


def card_of(
    folder: RunDir,
    run: Run,
    written: dict[str, Any],
    content: dict[str, Any],
    config: BackboneConfig | None,
    files: Mapping[Network, File],
    choice: dict[str, Any] | None,
) -> Card:
    """All that the card of a checkpoint's exported files says.

    `written`: what run.json says; `content`: of the checkpoint; `config`: of its backbone, None for a module of the
    user's own; `choice`: what `resmom evaluate --all` wrote, where it speaks of this checkpoint.
    """
    step, policy = content["state"]["step"], run.policy
    first = policy.views[0]
    lines = [line for line in read_lines(folder.metrics) if line["step"] <= step]
    per_epoch = _per_epoch(run, written, content)
    steps = content.get("steps", None if per_epoch is None else length(run.train, per_epoch))
    planned = step if steps is None else steps
    health = record.newest(lines, "health")
    plain = to_json(run)
    teacher = content["state"]["teacher"] is not None
    where = normed(content["state"]["teacher" if teacher else "student"])
    measured = [row for row in evaluations([folder])[0] if row["step"] == step]
    # What was measured again in the same way is told once, the newest.
    rows = list({(row["network"], row["data"], row["protocol"]): row for row in measured}.values())
    return Card(
        title=_title(written, run),
        made=_made(files, teacher),
        step=step,
        steps=steps,
        data=record.data(written, per_epoch, run.train.batch),
        settings=record.settings(plain, teacher, written.get("own", {}), written.get("resampled", ""), where),
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
        unjudged=unjudged(lines, planned, step, where.backbone),
        teacher=teacher,
        preference=_preference(record.evidence(lines, planned, step, where), choice, teacher),
        mean=policy.mean,
        std=policy.std,
        side=first.size,
        resize=first.interpolation,
        width=width_lines(config),
        files=files,
        images=health.get("images"),
        earlier=choice is not None and step < choice["last_step"],
        candidates=[] if choice is None else rows_of(choice),
    )


def _title(written: Mapping[str, Any], run: Run) -> str:
    """What was trained, by which method, and whose settings: MoCo-v3, dino-vit-small, derived settings."""
    own = {part: f"{name} (given from Python)" for part in ("method", "backbone") if (name := given(written, part))}
    method = own.get("method") or method_name(run.method)
    term = " with residual momentum" if run.residual.weight else ""
    small = isinstance(run.backbone, SmallResNet)  # has a name that says little without its command
    backbone = own.get("backbone") or (named(run.backbone) if small else name_of(run.backbone))
    if is_derived(run):
        settings = "derived settings"
    else:
        settings = f"recipe {run.recipe}" if base_of(run.recipe) in RECIPES else "settings of its own"
    return f"{method}{term}, {backbone}, {settings}"


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
