"""A whole run as one typed value. Its parts are frozen dataclasses that live beside what they configure."""

import difflib
import functools
from dataclasses import dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import cattrs
import tyro
from cattrs.strategies import configure_tagged_union

from resmom.called import called, called_by
from resmom.errors import UserError
from resmom.evaluate.online import Online
from resmom.evaluate.settings import Knn
from resmom.losses.residual import Residual
from resmom.methodconfig import METHODS, MethodConfig
from resmom.methods.mocov3 import MoCoV3
from resmom.nearest import similar
from resmom.nets.backbones import BackboneConfig, ResNet
from resmom.nets.teacher import Ema
from resmom.train.optim import Lars, OptimConfig
from resmom.train.plan import Train
from resmom.views.policy import Policy, mocov3_imagenet

T = TypeVar("T")


class ConfigError(UserError):
    """A configuration that cannot be used; the message names the field, what is allowed, and what to do."""


@dataclass(frozen=True)
class Log:
    """How often a run measures and saves."""

    line_steps: int = 10
    """Steps between two lines of training metrics."""
    save_epochs: float = 1.0
    """Epochs between two checkpoints (a run also saves when it is interrupted, and at its end)."""
    keep_epochs: float = 0.0
    """Epochs between two checkpoints that are kept under their own name; 0 keeps the last one only."""
    knn_epochs: float = 5.0
    """Epochs between two kNN measurements of student and teacher, where labels exist; 0 for none between the
    start and the end."""
    knn_images: int = 50_000
    """Most training images in the bank of these measurements."""

    def __post_init__(self) -> None:
        if min(self.line_steps, self.save_epochs, self.keep_epochs, self.knn_epochs) < 0:
            *names, last = (
                called(f"log.{name}") for name in ("line_steps", "save_epochs", "keep_epochs", "knn_epochs")
            )
            raise ConfigError(f"{', '.join(names)} and {last} must be 0 (never) or more")
        if self.knn_images < 1:
            raise ConfigError(f"{called('log.knn_images')} must be at least 1; got {self.knn_images}")


@dataclass(frozen=True)
class Run:
    """Everything that determines a run, its data and its machine apart."""

    recipe: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe this run began as."""
    init: str = ""
    """Backbone weights to start from: a file (.safetensors, torch file, run's checkpoint), or timm:NAME for published
    ones, which are downloaded; empty for random ones."""
    method: MethodConfig = field(default_factory=MoCoV3)
    backbone: BackboneConfig = field(default_factory=ResNet)
    policy: Policy = field(default_factory=mocov3_imagenet)
    optim: OptimConfig = field(default_factory=Lars)
    ema: Ema = field(default_factory=Ema)
    residual: Residual = field(default_factory=Residual)
    train: Train = field(default_factory=Train)
    online: Online = field(default_factory=Online)
    knn: Knn = field(default_factory=Knn)
    log: Log = field(default_factory=Log)


def _strict(kind: type) -> Any:
    def structure(value: Any, _: type) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError as error:
                raise ValueError("expected float, got a whole number that is too large for one") from error
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise ValueError(f"expected {kind.__name__}, got {value!r}")
        return value

    return structure


@functools.cache  # it compiles a function for every class of settings, a tenth of a second and more
def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _strict(kind))
    for union in (MethodConfig, BackboneConfig, OptimConfig):
        configure_tagged_union(union, converter, tag_name="kind")
    return converter


def to_json(run: Run) -> dict[str, Any]:
    """The run as plain values, lists among them; a union's member is named by `kind`."""
    plain: dict[str, Any] = _lists(_converter().unstructure(run))
    return plain


def _lists(value: Any) -> Any:
    """The same with a list for every tuple, so that what is changed in it can be changed in place."""
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, list | tuple) else value


def from_json(plain: Any) -> Run:
    """The run that `to_json` wrote. Raises ConfigError naming every wrong or unknown field, with a suggestion."""
    if not isinstance(plain, dict):
        raise ConfigError(f"the configuration cannot be used: expected an object with a run's fields, got {plain!r}")
    try:
        with called_by("fields"):  # as they stand there, whoever reads it
            return _converter().structure(plain, Run)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, ValueError, KeyError) as error:
        problems = cattrs.transform_error(error, path="run", format_exception=_plain_words)
        raise ConfigError("the configuration cannot be used: " + "; ".join(problems)) from error


def as_kept(run: Run) -> Run:
    """The run as its file will say, for one that was put together in Python, where nothing has checked its values.

    Raises ConfigError naming every field whose value a file cannot have, and every part that is of another kind.
    """
    for part in fields(Run):
        value, kind = getattr(run, part.name), part.type
        members = _members(kind) or ([kind.__name__] if isinstance(kind, type) and is_dataclass(kind) else [])
        if members and type(value).__name__ not in members:
            raise ConfigError(f"{part.name} is {value!r}; it takes the settings of one kind: {', '.join(members)}")
    try:
        plain = to_json(run)
    except (AttributeError, KeyError, TypeError) as error:  # a part of a part
        raise ConfigError(f"the configuration cannot be used: a part of it is of another kind ({error})") from error
    return from_json(plain)


def backbone_from_json(plain: dict[str, Any]) -> BackboneConfig:
    """The backbone that a run's JSON describes. Raises ConfigError where it describes none."""
    try:
        with called_by("fields"):
            backbone: BackboneConfig = _converter().structure(plain, BackboneConfig)  # type: ignore[arg-type]
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, ValueError, KeyError) as error:
        problems = cattrs.transform_error(error, path="backbone", format_exception=_plain_words)
        raise ConfigError("the backbone cannot be used: " + "; ".join(problems)) from error
    return backbone


def backbone_to_json(backbone: BackboneConfig) -> dict[str, Any]:
    """A backbone as plain values, as `backbone_from_json` reads them."""
    return {**part_to_json(backbone), "kind": type(backbone).__name__}


def part_to_json(part: Any) -> dict[str, Any]:
    """Any other dataclass of settings as plain values, as `to_json` writes those of a run."""
    plain: dict[str, Any] = _converter().unstructure(part)
    return plain


def part_from_json(plain: Any, kind: type[T]) -> T:
    """The settings that `part_to_json` wrote. Raises ConfigError naming every wrong or unknown field."""
    try:
        with called_by("fields"):
            return _converter().structure(plain, kind)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, ValueError, KeyError) as error:
        problems = cattrs.transform_error(error, path="settings", format_exception=_plain_words)
        raise ConfigError("the settings cannot be used: " + "; ".join(problems)) from error


def _plain_words(error: BaseException, kind: Any) -> str:
    """One mistake in our words: the parts' own messages kept, the nearest known name added to an unknown one."""
    match error:
        case cattrs.ForbiddenExtraKeysError():
            return ", ".join(_unknown(name, field_names(error.cl)) for name in sorted(error.extra_fields))
        case KeyError(args=("kind",)):
            return f"'kind' is missing; it says which of {', '.join(_members(kind))}"
        case KeyError(args=(name,)) if _members(kind):
            return _unknown(str(name), set(_members(kind))) + f"; known are {', '.join(_members(kind))}"
        case KeyError(args=(name,)):
            return f"'{name}' is missing"
        case ValueError():
            return str(error)
        case _ if get_origin(kind) is Literal:
            return f"it is one of {', '.join(map(str, get_args(kind)))}; got {str(error).partition(' not in ')[0]}"
        case TypeError() | AttributeError():
            return "expected an object or a list of another shape"
        case _:
            return str(cattrs.v.format_exception(error, kind))


def _unknown(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1) or difflib.get_close_matches(name, field_names(Run), n=1)
    return f"unknown '{name}'" + (f", did you mean '{near[0]}'?" if near else "")


def _members(kind: Any) -> list[str]:
    """The names by which `kind` tells the members of a union; none for anything else."""
    return [member.__name__ for member in get_args(kind)] if get_origin(kind) in (Union, UnionType) else []


def field_names(kind: Any) -> set[str]:
    """All field names in a tree of dataclasses, members of unions included."""
    if get_origin(kind) in (Union, UnionType, tuple, Literal):
        return set().union(*(field_names(member) for member in get_args(kind)))
    if not is_dataclass(kind):
        return set()
    return {f.name for f in fields(kind)}.union(*(field_names(f.type) for f in fields(kind)))


def method_named(name: str) -> MethodConfig:
    """The method of that name with its own defaults. Raises ConfigError with the names there are."""
    if name not in METHODS:
        hint = similar(name, METHODS, 1)
        raise ConfigError(f"there is no method '{name}', methods are {', '.join(METHODS)}{hint}")
    return METHODS[name]()
