"""The packages: whether they suit each other and can be imported at all."""

import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from resmom.runs.doctor.finding import Answer, Finding, answer

NEEDY = ("resmom", "torchvision", "timm", "scikit-learn", "numba")
"""Packages whose own needs are compared with what is there."""
EXTRAS = ("fast", "heif", "masks")
"""Those whose packages must not be of a wrong version where they are there."""
IMPORTED = {
    "numpy": "numpy",
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "pillow": "PIL",
    "scikit-learn": "sklearn",
}
"""What has compiled parts that may not fit the machine or each other: its name, and the module's."""


@dataclass(frozen=True)
class Installed:
    """Versions by name (None: not installed), and what a package says it needs."""

    versions: dict[str, str | None]
    needs: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Imported:
    """A module that could be imported: its own version and file, and the version that its installation is of."""

    name: str
    version: str
    installed: str | None
    file: str
    seconds: float


def installed() -> Answer:
    """The probe of the installed packages, by what their installations say."""
    needs = {name: tuple(_needs(name)) for name in NEEDY if _version(name) is not None}
    named = {canonicalize_name(Requirement(text).name) for texts in needs.values() for text in texts}
    found = Installed({name: _version(name) for name in sorted({*named, *NEEDY, *IMPORTED})}, needs)
    return answer(found, judge_installed(found))


def judge_installed(found: Installed) -> Iterator[Finding]:
    """A package is missing, or is of a version that another one cannot use."""
    if found.versions["resmom"] is None:
        yield Finding(
            "packages",
            "note",
            "resmom is not installed, only found on the path, so what it needs cannot be compared with what is there.",
            "install it: pip install '.[fast]' in its source tree",
        )
    unmet = [
        (who, need) for who, texts in found.needs.items() for need in map(Requirement, texts) if _unmet(found, need)
    ]
    for who, need in unmet:
        there = found.versions[canonicalize_name(need.name)]
        words = f"{need.name} is not installed" if there is None else f"{need.name} is {there}"
        pair = " (torch and torchvision belong together: name both)" if need.name.startswith("torch") else ""
        remedy = f"pip install '{need.name}{need.specifier}'{pair}"
        yield Finding("packages", "problem", f"{words}, and {who} needs {need.name}{need.specifier}.", remedy)
    if found.versions["resmom"] is not None and not unmet:
        yield Finding("packages", "ok", "everything that is needed is installed, in versions that suit each other.")


def _unmet(found: Installed, need: Requirement) -> bool:
    """Whether a need is not met. What only an extra needs may be missing, but not be of a wrong version."""
    there = found.versions[canonicalize_name(need.name)]
    must = need.marker is None or need.marker.evaluate({"extra": ""})
    if there is None:
        return must
    concerns = must or any(need.marker is not None and need.marker.evaluate({"extra": extra}) for extra in EXTRAS)
    return concerns and not need.specifier.contains(there, prereleases=True)


def imported(name: str) -> Answer:
    """The probe that imports a package of `IMPORTED`, and raises what that raises."""
    began = time.perf_counter()
    module: ModuleType = importlib.import_module(IMPORTED[name])
    seconds = time.perf_counter() - began
    found = Imported(name, module.__version__, _version(name), str(module.__file__), seconds)
    return answer(found, judge_imported(found))


def judge_imported(found: Imported) -> Iterator[Finding]:
    """Two installations lie over each other."""
    if found.installed is not None and _bare(found.installed) != _bare(found.version):
        yield Finding(
            found.name,
            "problem",
            f"the module says it is {found.version}, its installation {found.installed}: two installations are mixed.",
            f"pip uninstall {found.name} until nothing is left of it (and conda remove it), then install it once",
        )
    else:
        yield Finding(found.name, "ok", f"{found.version}, imported in {found.seconds:.1f} s.")


def _bare(version: str) -> str:
    """Without the local part that names a build, as in 2.8.0+cu128."""
    return version.partition("+")[0]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _needs(name: str) -> list[str]:
    return requires(name) or []
