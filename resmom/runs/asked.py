"""Whether the run in a folder is the one that a call asks for, so that the same call may go on with it.

A derived run is not derived again for that, which might come out otherwise on another machine, or beside other
programs: run.json keeps what was derived at first and what the call changed of it, and the new call is held against
that.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resmom.called import called
from resmom.config import Run, from_json, to_json
from resmom.errors import RunDirError
from resmom.methodconfig import METHODS
from resmom.rundir import RunDir
from resmom.runs.initial.published import placed
from resmom.runs.options import difference_words, differing, option_values
from resmom.runs.settling.offer import Asked, base_of

BY_TIME = ("train.epochs", "train.steps", "train.warmup_epochs", "train.warmup_steps", "train.micro_batch")
"""What a time to fit into changes of a recipe, beside how often it measures and saves."""


def record_of(asked: Asked, offered: Run | None) -> dict[str, Any]:
    """What run.json keeps of a call: `changes` of the recipe, or of the run that was `offered` without one (`of`)."""
    reference = offered or base_of(asked)
    assert reference is not None  # without a recipe a run is derived
    return {"changes": _changes(reference, asked)} | ({} if offered is None else {"of": to_json(offered)})


def require_asked(folder: RunDir, asked: Asked) -> None:
    """Raise RunDirError, which names what differs, unless the run in a folder is the one that a call asks for.

    Images and modules of the user's own are left to `resume`. Of runs of older versions, which kept nothing of their
    calls, a derived one has to have what is asked for.
    """
    if words := _difference(folder.written(), asked):
        raise RunDirError(
            f"{folder.path} holds another run than the one asked for: {words}; ask for the same to continue it, or "
            f"give another folder ({called('out')})"
        )


def _difference(written: Mapping[str, Any], asked: Asked) -> str:
    run, base, record = from_json(written["run"]), base_of(asked), written.get("asked")
    then: dict[str, Any] = record["changes"] if record else {}
    if record and ("of" in record) != (base is None):
        return f"it began {_beginning(record, run)}, and now {'no' if base is None else 'a'} recipe is named"
    if base is not None:
        timed = asked.seconds is not None or "time" in then
        wanted = asked.change(base)
        wanted = replace(wanted, init=placed(wanted.init))
        names = [name for name in differing(run, wanted) if not (timed and _by_time(name))]
        if names:
            return difference_words(option_values(run), option_values(wanted), names)
        if not record or not timed:
            return ""
    if not record:
        wanted = asked.change(run)
        return difference_words(option_values(run), option_values(wanted), differing(run, wanted))
    now = _changes(base or from_json(record["of"]), asked)
    names = [name for name in dict.fromkeys([*then, *now]) if then.get(name) != now.get(name)]
    return difference_words(then, now, names, "not given")


def _beginning(record: Mapping[str, Any], run: Run) -> str:
    return "without a recipe" if "of" in record else f"as {run.recipe}"


def _changes(reference: Run, asked: Asked) -> dict[str, Any]:
    """What a call changes of a run, by the names of the options, and what else it says."""
    wanted = asked.change(reference)
    values = option_values(wanted)
    found = {name: values[name] for name in differing(reference, wanted) if name in values and name != "init"}
    if asked.init:
        found["init"] = placed(asked.init)
    if asked.backbone is not None:
        found["backbone"] = to_json(replace(reference, backbone=asked.backbone))["backbone"]
    if asked.method is not None:
        found["method"] = next(name for name, kind in METHODS.items() if kind is type(asked.method))
    if asked.seconds is not None:
        found["time"] = f"{asked.seconds:g} s"
    return found


def _by_time(name: str) -> bool:
    return name in BY_TIME or name.startswith("log.")
