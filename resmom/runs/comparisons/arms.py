"""The arms of a comparison from the lines of their cells: means over seeds, and differences seed by seed."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from resmom.config import ConfigError, Run
from resmom.diagnose.paired import paired, spread
from resmom.diagnose.paired import together as together_of
from resmom.diagnose.rise import risen
from resmom.diagnose.rules import too_short
from resmom.diagnose.series import LEAST_STEPS
from resmom.errors import UserError
from resmom.runs.comparisons.columns import PERCENTAGES
from resmom.runs.comparisons.compared import Arm
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.counterparts import bases, in_groups, own_of
from resmom.runs.comparisons.results import Line, as_begun, in_order, newest
from resmom.runs.options import differing


def comparison(
    lines: Sequence[Line], against: str = "", together: bool = False, first: Sequence[str] = ()
) -> Comparison:
    """The arms, and what each differs from the first by, or from the arm `against`, which is put first. `against` may
    also be an option and its value, such as weight=0: then each arm is compared with the one that has that value and is
    the same otherwise, and stands below it.

    The arms `first` stand first, in their order, the others as `in_order` has them. `together`: the intervals of a
    measure hold together, for all arms (`paired.together`). Raises UserError as `require_one_table` and `bases` do.
    """
    require_one_table(lines)
    order = in_order(lines, first)
    ordered = sorted(newest(lines).values(), key=lambda line: order.index(line["arm"]))
    members = _by_arm(ordered)
    found = bases(members, against)
    members = {name: members[name] for name in in_groups(members, found)}

    alone = {name: _alone(name, own) for name, own in members.items()}

    def of(intervals: Mapping[str, int]) -> tuple[Arm, ...]:
        return tuple(
            _compared(arm, alone[found.of[name]], members, intervals) if name in found.of else arm
            for name, arm in alone.items()
        )

    arms = of({})
    if together:
        arms = of(Counter(name for arm in arms for name, pair in arm.against.items() if pair.low is not None))
    return Comparison(
        arms,
        _protocols(ordered),
        short=too_short(min((line["steps"] for line in ordered if line["failed"] is None), default=LEAST_STEPS)),
        with_term=tuple(name for name, own in members.items() if own[0]["run"].get("residual", {}).get("weight")),
        together=together,
        shared=found.shared,
        own="" if against else own_of(members),
    )


def require_one_table(lines: Sequence[Line]) -> None:
    """Raise UserError for lines of different images, and for an arm whose lines differ in more than their seed."""
    cells = newest(lines).values()
    trained = len({line["data"]["fingerprint"] for line in cells}) > 1
    # Earlier versions did not write down which images were tested on.
    if trained or len({line["data"]["test"] for line in cells if "test" in line["data"]}) > 1:
        names = sorted({f"{line['data']['name']} ({line['data']['origin']})" for line in cells})
        raise UserError(
            f"these cells were {'trained on' if trained else 'measured on'} different images: {'; '.join(names)}; "
            "compare each set by itself"
        )
    for name, own in _by_arm(cells).items():
        if len({(_given(line), _without_seed(line)) for line in own}) > 1:
            raise UserError(
                f"the cells of arm {name} differ in more than their seed{_apart(own)}; they cannot be averaged"
            )


def _by_arm(lines: Iterable[Line]) -> dict[str, list[Line]]:
    members: dict[str, list[Line]] = {}
    for line in lines:
        members.setdefault(line["arm"], []).append(line)
    return members


def _without_seed(line: Line) -> Run | str:
    """The run with the seed 0. By way of its type, so that a line from before an option existed has its default."""
    try:
        run = as_begun(line)
    except ConfigError:  # a line of something that is more than a run, or of another version
        plain = {name: part for name, part in line["run"].items() if name != "recipe"}
        return repr(plain | {"train": {name: value for name, value in plain["train"].items() if name != "seed"}})
    return replace(run, recipe="", train=replace(run.train, seed=0))


def _given(line: Line) -> frozenset[tuple[str, str]]:
    """What of a run was given in Python, by its name."""
    return frozenset(line.get("own", {}).items())


def _apart(own: Sequence[Line]) -> str:
    """In which options the cells of an arm differ, in words."""
    if len({_given(line) for line in own}) > 1:
        return ", in what was given in Python"
    runs = [run for line in own if isinstance(run := _without_seed(line), Run)]
    names = sorted({name for run in runs[1:] for name in differing(runs[0], run)})
    return f", in {', '.join(names[:3])}" if names else ""


def _protocols(lines: Sequence[Line]) -> dict[str, tuple[str, ...]]:
    """By which these runs were measured, by kind."""
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        for kind, protocol in line["protocols"].items():
            found.setdefault(kind, {})[protocol] = None
    return {kind: tuple(each) for kind, each in found.items()}


def _bare(protocols: Sequence[str], lines: Sequence[Line]) -> set[str]:
    """Protocols without the words for where the images are from, which fingerprints tell better."""
    origins = {f", {line['data']['origin']}" for line in lines}
    return {next((p.removesuffix(o) for o in origins if p.endswith(o)), p) for p in protocols}


def _by_seed(lines: Sequence[Line]) -> dict[str, dict[int, float]]:
    """Each measure's finite values by seed."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        for name, value in line["measures"].items():
            if math.isfinite(value):
                found.setdefault(name, {})[line["seed"]] = value
    return found


def _alone(name: str, own: Sequence[Line]) -> Arm:
    """An arm by itself, from the lines of its cells."""
    diverged = tuple(sorted(line["seed"] for line in own if line["failed"] is not None))
    knn = [line for line in own if line["before"] is not None and "knn/student" in line["measures"]]
    rise = None
    if knn:
        after = [line["measures"]["knn/student"] for line in knn]
        rise = risen([line["before"] for line in knn], after, min(line["queries"] for line in knn))
    return Arm(
        name=name,
        settings=own[0]["settings"],
        seeds=tuple(sorted(line["seed"] for line in own)),
        diverged=diverged,
        learned=False if diverged else None if rise is None else rise.clear,
        before=spread([line["before"] for line in knn]) if knn else None,
        rise=rise,
        measures={name: spread(list(values.values())) for name, values in _by_seed(own).items()},
        protocols=_protocols(own),
    )


def _compared(arm: Arm, base: Arm, members: Mapping[str, Sequence[Line]], intervals: Mapping[str, int]) -> Arm:
    """The arm with its differences from another one, where both count. `intervals`: of each measure, how many hold
    together; of each by itself, if it is not there."""
    own, others = members[arm.name], members[base.name]
    otherwise = tuple(
        kind
        for kind in sorted(arm.protocols.keys() & base.protocols.keys())
        if len(_bare((*arm.protocols[kind], *base.protocols[kind]), (*own, *others))) > 1
    )
    arm = replace(arm, base=base.name, base_fault=base.fault, otherwise=otherwise)
    if arm.fault or base.fault:
        return arm
    asked = [line["queries"] for line in (*own, *others) if line["queries"]]
    step, first = 100 / min(asked) if asked else 0.0, _by_seed(others)
    pairs = {
        name: paired(
            values,
            first.get(name, {}),
            together_of(intervals.get(name, 1)),
            step if name.partition("/")[0] in PERCENTAGES else 0.0,
        )
        for name, values in _by_seed(own).items()
        if name.partition("/")[0] not in otherwise
    }
    return replace(arm, against={name: pair for name, pair in pairs.items() if pair is not None})
