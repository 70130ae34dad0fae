"""What `resmom detect` and `resmom segment` share: one verb each, with train, resume and evaluate. No verb itself."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from resmom.commands import Flat, parse, print_json, set_process, take
from resmom.errors import UserError
from resmom.runs.machine import Machine
from resmom.which import Which

if TYPE_CHECKING:
    from resmom.runs.finetuned.tuned import Ended, Work
    from resmom.runs.finetuned.tuning import Measured


@dataclass(frozen=True)
class Tuned:
    """A verb `resmom VERB train|resume|evaluate` that makes a run's backbones ready for a task with labels."""

    verb: str
    summary: str
    """What `train` does, a sentence of the usage."""
    about: str
    """The same as the title of its help."""
    labels: str
    """What belongs to each image: "boxes"."""
    forms: str
    """The forms of data, in short."""
    things: str
    """What comes out, in the plural."""
    random: str
    """What random weights are also made into."""
    usual: str
    """The recipe that counts where none is named."""
    recipes: tuple[str, ...]
    """The names of all, which importing them would wait for torch to tell."""
    work: Callable[[], "Work"]
    """Import what does the work."""
    say: Callable[["list[Measured]"], None]
    """Print one result or more."""
    unfit: str = ""
    """What refusals say behind a list of all backbones: which of them it can be done with."""

    @property
    def usage(self) -> str:
        verb = self.verb
        return f"""usage: resmom {verb} train RUN --data DATA … --test DATA … --out OUT [--recipe NAME] [OPTIONS]
       resmom {verb} train --init FILE|timm:NAME --data DATA … --test DATA … --out OUT [--backbone NAME] [OPTIONS]
       resmom {verb} train --backbone NAME --data DATA … --test DATA … --out OUT [OPTIONS]
       resmom {verb} resume OUT
       resmom {verb} evaluate OUT [--data DATA …]

train: {self.summary}
recipes: {", ".join(self.recipes)}

`resmom {verb} train --help` tells the options, with the defaults of a recipe: {self.usual} unless another is named.
"""

    def main(self, arguments: list[str]) -> int:
        """Train, continue or measure; 128 + signal when stopped by one."""
        if not arguments or arguments[0] in ("-h", "--help"):
            print(self.usage, end="")
            return 0
        prog, rest = f"resmom {self.verb} {arguments[0]}", arguments[1:]
        match arguments[0]:
            case "train":
                return self._train(rest)
            case "resume":
                a = parse(self._arguments(), rest, prog, f"Continue {self.things} that were stopped.")
                from resmom.runs.environment import threads_of

                # As many threads as it began with: their number decides the last bits of sums.
                set_process(replace(a.machine, threads=a.machine.threads or threads_of(a.out)))
                return self._ended(self.work().resume(a.out, a.machine), a.json)
            case "evaluate":
                data = f"Images with {self.labels}; the folder's own test images by default."
                a = parse(self._arguments(_told("data", tuple[str, ...], data)), rest, prog, f"Measure {self.things}.")
                set_process(a.machine)
                self._rows(self.work().evaluate(a.out, a.data, a.machine), a.json)
                return 0
            case other:
                raise UserError(f"there is no '{other}'; it is `resmom {self.verb} train`, `resume` or `evaluate`")

    def _train(self, arguments: list[str]) -> int:
        from resmom.runs.initial.recognise import by_name, recognise
        from resmom.runs.origin import OPTIONS, Origin

        work = self.work()
        options, named = take(arguments, "--recipe")
        name = named or self.usual
        a = parse(self._settings(work.recipe(name)), options, f"resmom {self.verb} train --recipe {name}", self.about)
        if lacking := [option for option, given in (("--data", a.data), ("--out", a.out)) if not given]:
            raise UserError(f"name {' and '.join(lacking)} (`resmom {self.verb} --help` lists the forms)")
        names = replace(OPTIONS, unfit=self.unfit)
        body = by_name(a.backbone, a.init, names) if a.backbone else None
        if not a.backbone and a.init and a.run is None:
            body = recognise(a.init, names)
        set_process(a.machine)
        warmup, steps = getattr(a.settings, "warmup_steps", 0), a.settings.steps
        if warmup >= steps and not a.machine.quiet:
            print(
                f"attention: the warm-up, {warmup} steps, is no shorter than the training, {steps} steps, so its "
                f"learning rate is never reached; a tenth is usual: --warmup-steps {max(1, steps // 10)}",
                file=sys.stderr,
            )
        origin = Origin(a.run, a.network, a.random, body, a.init, names)
        return self._ended(work.train(a.settings, origin, a.data, a.test, a.out, a.machine), a.json)

    def _settings(self, recipe: Any) -> type[Any]:
        """The options of `train`: what a training has beside its settings, then these."""
        images = f"Images with {self.labels} to"
        return make_dataclass("Arguments", [
            ("run", _help(Path | None, "A run folder, or one checkpoint of it.", tyro.conf.Positional), None),
            _told("data", tuple[str, ...], f"{images} learn from, one place or several: {self.forms}."),
            _told("test", tuple[str, ...], f"{images} measure on, likewise; none: nothing is measured."),
            ("out", _help(Path | None, f"The folder for the {self.things}: new, or empty."), None),
            ("network", Which, "both"),
            ("random", _help(bool, f"Also {self.random} of the same backbone, for comparison."), False),
            ("backbone", _help(str, "Instead of a run: a backbone by name, random but for --init."), ""),
            ("init", _help(str, _INIT), ""),
            *_ALWAYS,
            ("settings", Flat[type(recipe)], field(default=recipe)),  # type: ignore[misc]
        ], frozen=True)  # fmt: skip

    def _arguments(self, *more: Any) -> type[Any]:
        out = _help(Path, f"The folder of `resmom {self.verb} train`.", tyro.conf.Positional)
        return make_dataclass("Arguments", [("out", out), *more, *_ALWAYS], frozen=True)

    def _ended(self, ended: "Ended", as_json: bool) -> int:
        """Say what came out, and how to go on if a signal stopped it; return 0, or 128 + that signal."""
        self._rows(ended.rows, as_json)
        if ended.interrupted_by is None:
            if not as_json:
                print(
                    f"finished: {ended.path}\nlook at it with:\n  resmom report {ended.path} --out report.html\n"
                    f"run it on other images with:\n  resmom predict {ended.path} --data PHOTOS --out DIR"
                )
            return 0
        if not as_json:
            print(f"saved; continue with:\n  resmom {self.verb} resume {ended.path}")
        return 128 + ended.interrupted_by

    def _rows(self, rows: "list[Measured]", as_json: bool) -> None:
        if as_json:
            print_json([row.plain() for row in rows])
        elif rows:
            self.say(rows)


def _help(kind: Any, words: str, *more: Any) -> Any:
    return Annotated[(kind, tyro.conf.arg(help=words), *more)]


def _told(name: str, kind: Any, words: str) -> tuple[str, Any, Any]:
    return name, _help(kind, words), ()


_INIT = (
    "Instead of a run: weights (.safetensors, torch file, run's checkpoint, or timm:NAME for published ones), of the "
    "backbone that is named, or recognised."
)
_ALWAYS: list[tuple[str, Any, Any]] = [
    ("machine", Flat[Machine], field(default_factory=Machine)),
    ("json", _help(bool, "Print the results as JSON."), False),
]
