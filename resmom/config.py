"""A whole run as one typed value. Its parts are frozen dataclasses that live beside what they configure."""

import difflib
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import cattrs
import tyro
from cattrs.strategies import configure_tagged_union

from resmom.errors import UserError
from resmom.evaluate.knn import Knn
from resmom.evaluate.online import Online
from resmom.losses.residual import Residual
from resmom.methodconfig import METHODS, MethodConfig, one_sided, pair_kinds, queue_of, sites_of, with_pairs
from resmom.methods.mocov3 import MoCoV3
from resmom.nets.backbones import BackboneConfig, DinoViT, MoCoViT, ResNet, SmallResNet
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
            raise ConfigError("log.line_steps, .save_epochs, .keep_epochs and .knn_epochs must be 0 (never) or more")
        if self.knn_images < 1:
            raise ConfigError(f"log.knn_images must be at least 1; got {self.knn_images}")


@dataclass(frozen=True)
class Run:
    """Everything that determines a run, its data and its machine apart."""

    recipe: Annotated[str, tyro.conf.Suppress] = "custom"
    """The recipe this run began as."""
    init: str = ""
    """File of backbone weights to start from (.safetensors, torch file, run's checkpoint); empty for random ones."""
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
            return float(value)
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
    """The run as plain values; a union's member is named by `kind`."""
    plain: dict[str, Any] = _converter().unstructure(run)
    return plain


def from_json(plain: Any) -> Run:
    """The run that `to_json` wrote. Raises ConfigError naming every wrong or unknown field, with a suggestion."""
    if not isinstance(plain, dict):
        raise ConfigError(f"the configuration cannot be used: expected an object with a run's fields, got {plain!r}")
    try:
        return _converter().structure(plain, Run)
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, ValueError, KeyError) as error:
        problems = cattrs.transform_error(error, path="run", format_exception=_plain_words)
        raise ConfigError("the configuration cannot be used: " + "; ".join(problems)) from error


def backbone_from_json(plain: dict[str, Any]) -> BackboneConfig:
    """The backbone that a run's JSON describes. Raises ConfigError where it describes none."""
    try:
        backbone: BackboneConfig = _converter().structure(plain, BackboneConfig)  # type: ignore[arg-type]
    except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError, ValueError, KeyError) as error:
        problems = cattrs.transform_error(error, path="backbone", format_exception=_plain_words)
        raise ConfigError("the backbone cannot be used: " + "; ".join(problems)) from error
    return backbone


def part_to_json(part: Any) -> dict[str, Any]:
    """Any other dataclass of settings as plain values, as `to_json` writes those of a run."""
    plain: dict[str, Any] = _converter().unstructure(part)
    return plain


def part_from_json(plain: Any, kind: type[T]) -> T:
    """The settings that `part_to_json` wrote. Raises ConfigError naming every wrong or unknown field."""
    try:
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
        near = difflib.get_close_matches(name, METHODS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"there is no method '{name}'{hint}; methods are {', '.join(METHODS)}")
    return METHODS[name]()


def check(run: Run) -> None:
    """Refuse numbers that cannot train, and parts that do not go together. Raises ConfigError."""
    for path, value in _floats(run):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}; it must be a finite number")
    if run.optim.lr <= 0:
        raise ConfigError(f"optim.lr is {run.optim.lr}; it must be above 0")
    _check_method(run)
    if run.method.traits.patches and not isinstance(run.backbone, MoCoViT | DinoViT):
        raise ConfigError(
            f"{type(run.method).__name__} hides patches of the views, so it needs a Vision Transformer, and the "
            f"backbone is {type(run.backbone).__name__}; set --backbone dino-vit-small (or -tiny, -base), or vit-small"
        )
    match run.backbone:
        case SmallResNet(widths=widths) if not widths or min(widths) < 1:
            raise ConfigError(f"backbone.widths is {widths}; give at least one width, each at least 1")
        case MoCoViT(image=image, patch=patch) | DinoViT(image=image, patch=patch):
            _check_patches(run, image, patch)
        case _:
            pass


def _check_patches(run: Run, image: int, patch: int) -> None:
    """Refuse views that a transformer does not take: the first have its size, local ones a whole number of patches."""
    if patch < 1 or image < patch or image % patch:
        raise ConfigError(f"backbone.image {image} is not a multiple of backbone.patch {patch}")
    for number, view in enumerate(run.policy.views):
        if number < run.method.traits.views and view.size != image:
            raise ConfigError(
                f"backbone.image is {image}, but view {number} has side {view.size}; "
                "set both with --image-size, or --backbone.image and --policy.views.N.size so that they agree"
            )
        if view.size % patch:
            raise ConfigError(
                f"view {number} has side {view.size}, which is not a multiple of backbone.patch {patch}; "
                f"set --policy.views.{number}.size"
            )


def _check_method(run: Run) -> None:
    """Refuse views, parts of batches and queues that a method does not take, and a term that it cannot have."""
    name, traits, views = type(run.method).__name__, run.method.traits, len(run.policy.views)
    if views < traits.views or (views > traits.views and not traits.more):
        few = f"at least {traits.views}" if traits.more else f"{traits.views}"
        raise ConfigError(f"{name} takes {few} views, policy.views has {views}")
    sides = [view.size for view in run.policy.views]
    if not traits.more and len(set(sides)) > 1:
        raise ConfigError(
            f"the views have sides of {' and '.join(map(str, sides))} pixels, and {name} compares views of one size; "
            f"set it for all with --image-size, or --policy.views.0.size to .{views - 1}.size alike"
        )
    if not traits.micro_batches and 0 < run.train.micro_batch < run.train.batch:
        raise ConfigError(
            f"the loss of {name} is one of the whole batch, whose images it sets against each other as the student "
            "sees them now, so it cannot be computed in parts: set train.micro_batch to 0, and lower train.batch if "
            "the memory is too small"
        )
    if 0 < queue_of(run.method) < run.train.batch:
        raise ConfigError(
            f"method.queue is {queue_of(run.method)}, train.batch {run.train.batch}: it must hold a batch at least; "
            "raise method.queue or lower train.batch"
        )
    for what, sizes in (
        ("global", {view.size for view in run.policy.views[: traits.views]}),
        ("local", {view.size for view in run.policy.views[traits.views :]}),
    ):
        if traits.more and len(sizes) > 1:
            raise ConfigError(
                f"the {what} views of {name} (the first {traits.views} are the global ones) have the sides "
                f"{', '.join(map(str, sorted(sizes)))}; give them all one"
                + (", with --image-size" if what == "global" else "")
            )
    if run.residual.weight > 0:
        _check_residual(run)


def _check_residual(run: Run) -> None:
    """Refuse a residual term where student and teacher never meet on what it compares."""
    name, sites, kinds = type(run.method).__name__, sites_of(run.method), ("all", *pair_kinds(run.method))
    if not run.method.traits.teacher:
        raise ConfigError(
            f"{name} has no teacher, so there is no gap to close: set residual.weight to 0, or choose a method "
            "with a teacher"
        )
    if run.residual.site not in sites:
        raise ConfigError(
            f"{name} as it is set has no site {run.residual.site}; residual.site is one of {', '.join(sites)} for it"
        )
    if run.residual.pairs not in kinds:
        raise ConfigError(
            f"{name} as it is set hands out no same-view pairs '{run.residual.pairs}'; residual.pairs is one of "
            f"{', '.join(kinds)} for it"
        )
    if one_sided(run.method) is None:
        return
    if run.method != with_pairs(run.method):
        raise ConfigError(
            f"in {name} the teacher does not see the student's view, so the residual term has nothing to compare: set "
            "method.same_view (one more teacher forward a step), or residual.weight to 0"
        )
    if run.residual.pairing == "cross":
        raise ConfigError(
            f"residual.pairing 'cross' needs the student on both views, but in {name} it sees one; leave it at 'same'"
        )


def _floats(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """All floats in a tree of dataclasses and tuples, with their paths."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _floats(part, f"{path}.{number}")
    elif is_dataclass(value):
        for f in fields(value):
            yield from _floats(getattr(value, f.name), f"{path}.{f.name}" if path else f.name)
