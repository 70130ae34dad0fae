"""Arguments of another kind than a function takes: one sentence, whichever function and argument."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import pytest
from torch import nn

import resmom
from resmom.arguments import arguments_checked, fits, words
from resmom.config import Run
from resmom.errors import UserError
from resmom.evaluate.settings import Knn, OtherKnn
from resmom.recipes import recipe
from resmom.runs.result import Result
from resmom.runs.weights import Weights

OWN_WORDS = {
    *(("compare", name) for name in ("arms", "vary", "seeds")),
    *((name, "run") for name in ("pretrain", "draw_views")),
    *((name, "backbone") for name in ("pretrain", "resume", "result", "profile", "load")),
    *((name, "log_to") for name in ("pretrain", "resume", "compare")),
}
"""Of which the function itself says more (tests/runs/test_python.py, test_refusals.py, comparisons/test_given.py,
loggers/test_sinks.py)."""
TENSORS = {"gap", "residual"}
"""Their arguments are tensors, whose shapes and kinds they look at themselves."""


class Other:
    def __repr__(self) -> str:
        return "something else"


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every function and method of the package's own names."""
    for name in resmom.__all__:
        found = getattr(resmom, name)
        if inspect.isfunction(found) and name not in TENSORS:
            yield name, found
    for kind in (Result, Weights):
        for name, found in vars(kind).items():
            if inspect.isfunction(found) and not name.startswith("_"):
                yield f"{kind.__name__}.{name}", found


CASES = [
    (name, function, argument)
    for name, function in public()
    for argument, hint in get_type_hints(inspect.unwrap(function)).items()
    if argument != "return" and hint is not object and (name, argument) not in OWN_WORDS
]


def test_there_is_something_to_hold_it_to() -> None:
    assert len(CASES) > 100 and {name for name, _, _ in CASES} > {"pretrain", "Result.evaluate", "Weights.export"}


@pytest.mark.parametrize(("name", "function", "argument"), CASES, ids=[f"{one[0]}-{one[2]}" for one in CASES])
def test_every_argument_of_another_kind_is_told(name: str, function: Callable[..., Any], argument: str) -> None:
    parameters = inspect.signature(function).parameters.values()
    needed: dict[str, Any] = {one.name: "nowhere" for one in parameters if one.default is inspect.Parameter.empty}
    with pytest.raises(UserError, match=rf"^{argument} is something else; {name.rpartition('.')[2]} takes .* there$"):
        function(**{**needed, argument: Other()})


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, (3, np.int64(3)), (True, 2.5, "3", None)),
        (float, (3, 2.5, np.float32(1)), (True, "3", None)),
        (bool, (True, np.True_), (1, 0, None, "yes")),
        (str, ("",), (3, Path("a"), None)),
        (str | Path, ("a", Path("a")), (3, ["a"])),
        (int | Sequence[int] | None, (1, [1, 5], (1,), range(3), np.arange(3), None), ("1,5", [1.5], {1: 2}, True)),
        (Sequence[str | Path], (["a", Path("b")],), ("a", [3], Path("a"))),
        (tuple[float, ...], ((0.5, 1), [0.5]), (("a",), 0.5)),
        (Mapping[str, Any] | None, ({}, {"a": 1}, None), ([], "a")),
        (Callable[[Run], Run], (lambda run: run, Knn), ({}, None, "a")),
        (Literal["knn", "linear"], ("knn", "linaer"), (1, None, ["knn"])),  # which one is the function's to say
        (bool | Knn, (True, Knn()), (3, {"k": 3}, None)),
        (nn.Module | Callable[[], nn.Module] | None, (nn.Identity(), nn.Identity, None), ({}, "small")),
        (object, (3, None), ()),
        (Any, (3, None), ()),
    ],
)
def test_what_fits_an_annotation(hint: Any, good: Sequence[Any], bad: Sequence[Any]) -> None:
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        (str | Path | None, "a path or None"),
        (int | Sequence[int] | None, "a whole number, a list of whole numbers or None"),
        (Literal["knn", "linear"] | Sequence[Literal["knn"]], "'knn' or 'linear' or a list of these"),
        (OtherKnn | None, "resmom.evaluate.settings.OtherKnn or None"),
        (nn.Module | Callable[[], nn.Module], "a torch module or a function"),
        (Run | str | Path | Result | None, "a Run, a path, a Result or None"),
        (Mapping[str, int], "a dict"),
    ],
)
def test_what_may_stand_there_in_words(hint: Any, told: str) -> None:
    assert words(hint) == told


def test_calls_that_python_refuses_are_left_to_it_and_long_values_are_not_told() -> None:
    @arguments_checked("other")
    def take(number: int, other: int = 0) -> int:
        return number + len(str(other))

    assert take(1, "text") == 5  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'number'"):
        take()  # type: ignore[call-arg]
    with pytest.raises(UserError, match=r"^number is of type list; take takes a whole number there$"):
        take(list(range(100)))  # type: ignore[arg-type]
    assert take.__name__ == "take" and str(inspect.signature(take)) == "(number: int, other: int = 0) -> int"


def test_what_the_function_itself_refuses_goes_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no recipe 'nothing'"):
        recipe("nothing")
    with pytest.raises(UserError, match="is not a run folder"):
        resmom.load(tmp_path)
