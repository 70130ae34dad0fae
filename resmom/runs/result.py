"""What a run has to say, as one object: its measurements, its networks, and how it shows itself in a notebook."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from torch import nn

from resmom.arguments import arguments_checked
from resmom.build import Own
from resmom.config import Run
from resmom.data.source import Data
from resmom.diagnose.rules import Finding, findings, unjudged
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, Linear, LinearCrop, OtherKnn
from resmom.rundir import run_of
from resmom.runs.encoder import encoder_of
from resmom.runs.exporting.embed import Embedded
from resmom.runs.exporting.embed import embed as embed_run
from resmom.runs.exporting.export import Exported
from resmom.runs.exporting.export import export as export_run
from resmom.runs.generators import generators_kept
from resmom.runs.images import images_given
from resmom.runs.loaded import load_run, normed_as_kept
from resmom.runs.measuring.asked import Protocol, asked, is_share, refuse_unused
from resmom.runs.measuring.evaluate import evaluate
from resmom.runs.measuring.gap import GapResult
from resmom.runs.measuring.gap import gap as gap_of_run
from resmom.runs.measuring.keep import Kept, keep
from resmom.runs.measuring.rows import Row
from resmom.runs.outcome import Change, before_after, table
from resmom.runs.own import names, part_words, title_words
from resmom.which import Form, H, Network, Site, Which


@dataclass(frozen=True, repr=False)
class Result:
    """A run on disk, finished or not: what was measured, and its networks when they are asked for.

    In a notebook it shows itself as a table. `steps` is the planned length, `step` how far the run is.
    """

    path: Path
    step: int
    steps: int
    run: Run
    metrics: tuple[dict[str, Any], ...]
    """The lines of metrics.jsonl; docs/run-folder.md tells what is in them."""
    own: Own = field(default_factory=Own)
    data: str | Data | None = None
    """Where its images are now, or they themselves; None: where run.json says."""

    @property
    def finished(self) -> bool:
        """Whether the run reached its last step; if not, `resmom.resume` continues it."""
        return self.step == self.steps

    @property
    def changes(self) -> list[Change]:
        """Before against after: kNN where there are labels, and the label-free measures."""
        return before_after(self.metrics)

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong with the run, in words; empty when nothing does."""
        return findings(self.metrics, self.steps)

    @arguments_checked()
    def series(self, kind: str, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one number of one kind of line, as in series("train", "loss") or ("knn", "student").

        Raises KeyError, naming what there is, for one that was never written.
        """
        lines = [line for line in self.metrics if line["kind"] == kind]
        points = [(int(line["step"]), float(line[name])) for line in lines if isinstance(line.get(name), int | float)]
        if not points:
            known = sorted({key for line in lines for key in line}) or sorted({line["kind"] for line in self.metrics})
            raise KeyError(f"no '{name}' in lines of kind '{kind}'; there are {', '.join(map(str, known))}")
        return [step for step, _ in points], [value for _, value in points]

    @arguments_checked()
    def network(self, which: Network = "student", device: str = "cpu") -> nn.Module:
        """The encoder in evaluation mode: N x C x S x S views, normalised, to Encoding(h, z, p); `h` is kept."""
        return encoder_of(load_run(self.path, device, self.own), which)

    @arguments_checked()
    @generators_kept()
    def evaluate(
        self,
        protocols: Protocol | Sequence[Protocol] | None = None,
        baselines: bool = False,
        linear: Linear | None = None,
        image_size: int | None = None,
        *,
        data: object = None,
        test: object = None,
        network: Which = "both",
        knn: OtherKnn | None = None,
        linear_crop: bool | LinearCrop = False,
        low_shot: int | Sequence[int] | None = None,
        finetune: bool | Finetune = False,
        sweep: bool = False,
        labels: str | float | Path = "",
        seed: int = 0,
        draws: int | None = None,
        save_classifier: str | Path | None = None,
        device: str = "auto",
    ) -> list[Row]:
        """Measure student and teacher on labelled images, as `resmom evaluate` does; the rows go to the run folder too.

        `protocols`: of knn, linear and online; by default all, or none where another kind is asked for. `baselines`:
        kNN of pixels and of the untrained network too. `data` and `test` as for `resmom.pretrain`; None: the run's own.
        `image_size`: side of all images in pixels; None: that of the run's views. `knn`: other k and temperature than
        the run's. `linear`: grid of the linear probe and of the sweep.

        `linear_crop`: the linear probe of the published tables, trained on random crops. `low_shot`: so many labelled
        images per class, one number or several. `finetune`: the whole network with a classifier. `sweep`: linear probes
        of all layers and poolings. True takes the defaults, a LinearCrop or Finetune of
        `resmom.evaluate.settings` its own.

        `labels`: learn from a share of every class's (0.01), or from those that a file lists. `draws`: how often to
        measure, for mean and spread; `seed`: of the images that are drawn. `save_classifier`: the new .safetensors file
        for the one classifier that is trained, which `resmom.load_classifier` reads. What each means:
        docs/evaluation.md.

        Raises UserError for options without effect, for a size that the network does not take, and
        for images without labels; when all else is measured, Incomplete for a probe that diverged or features that are
        not finite: its `rows` are what was measured, and are in the run folder.
        """
        wanted = asked(
            protocols,
            baselines=baselines,
            knn=knn,
            linear=linear,
            linear_crop=linear_crop,
            low_shot=low_shot,
            finetune=finetune,
            sweep=sweep,
            labels=labels,
            seed=seed,
            draws=draws,
            image_size=image_size,
            save_classifier=None if save_classifier is None else Path(save_classifier),
        )
        which, place = _which(network), self._images(data, test)
        given = (self.path, place, which, wanted.protocols, wanted.linear, wanted.baselines, device)
        return evaluate(*given, own=self.own, more=wanted.more)

    @arguments_checked()
    @generators_kept()
    def keep(
        self,
        data: object = None,
        test: object = None,
        network: Which = "both",
        linear: Linear | None = None,
        *,
        labels: str | float | Path = "",
        seed: int = 0,
        device: str = "auto",
    ) -> Kept:
        """Which network, kept checkpoint and layer to keep, as `resmom evaluate --all` finds them; `print` says it.

        RUN/choice.json has it then, by which `export` and `embed(layer="chosen")` go. Arguments as for `evaluate`.
        """
        refuse_unused({"seed": seed == 0 or is_share(str(labels))})
        place = self._images(data, test)
        return keep(self.path, place, _which(network), linear, device, self.own, str(labels), seed)

    @arguments_checked()
    @generators_kept()
    def gap(
        self,
        images: int = 2048,
        layers: bool = False,
        accuracy: bool = True,
        *,
        data: object = None,
        device: str = "auto",
    ) -> GapResult:
        """The gaps between student and teacher at every checkpoint, on the run's own images, as `resmom gap` has them.

        `layers` adds those inside the backbone; `accuracy`, that of kNN, needs labels. `data`: other images.
        """
        return gap_of_run(self.path, self._images(data), images, device, layers, accuracy, self.own)

    @arguments_checked()
    @generators_kept()
    def embed(
        self,
        out: str | Path,
        data: object = None,
        network: Which = "both",
        site: Site = "h",
        image_size: int | None = None,
        *,
        layer: str = H,
        device: str = "auto",
    ) -> Embedded:
        """What the networks say of every image, as arrays in the new file `out`, .npz, as `resmom embed` writes them.

        `data` as for `resmom.pretrain`; None: the run's own images. `image_size`: their side in pixels; None: that of
        the run's views. `layer`: other features than h, by the names that a sweep prints, such as "stage3, mean";
        "chosen": what `keep` chose, of that network and checkpoint alone. Raises UserError for a size that the network
        does not take, and for a layer that it does not have.
        """
        where = self.path, Path(out), self._images(data)
        return embed_run(*where, _which(network), site, device, self.own, image_size, layer)

    @arguments_checked()
    def report(self, out: str | Path = "report.html", images: bool = True) -> Path:
        """One page about the run, as `resmom report` writes it; `images` False leaves out every pixel of them."""
        from resmom.runs.reporting.report import (
            report as report_of,  # seconds to import, which other uses need not wait for
        )

        return report_of(self.path, out, images)

    def _images(self, data: object, test: object = None) -> str | Data | None:
        """The images asked for; the result's own where none are."""
        if data is None and test is not None:
            raise UserError("test goes with data; give the images to learn from too")
        return self.data if data is None else images_given(data, test)

    @arguments_checked()
    @generators_kept()
    def export(self, out: str | Path | None = None, network: Which = "both", to: Form = "safetensors") -> Exported:
        """Write the backbones and their card to the folder `out`, as `resmom export --to` does.

        `out` is RUN/export by default, RUN/detectron2 or RUN/onnx for these formats. Raises UserError for another
        format, and for a backbone that the format cannot hold.
        """
        if to not in get_args(Form):
            raise UserError(f"to is {to!r}; it is one of {', '.join(get_args(Form))}")
        return export_run(self.path, None if out is None else Path(out), _which(network), to, self.own)

    @property
    def _state(self) -> str:
        return "finished" if self.finished else f"stopped at step {self.step} of {self.steps}"

    def __repr__(self) -> str:
        given = {"own": names(self.own)}
        parts = ", ".join(f"{part} {part_words(given, self.run, part)}" for part in ("method", "backbone"))
        return f"<resmom.Result of {self.run.recipe} in {self.path}, {self._state}: {parts}; print it for its measures>"

    def __str__(self) -> str:
        measured = table(self.changes) if self.changes else "nothing was measured after its start yet"
        lines = [f"{title_words({'own': names(self.own)}, self.run)}, {self._state}, in {self.path}", measured]
        lines += [f"attention, {finding.name}: {finding.words} {finding.remedy}" for finding in self.findings]
        where = normed_as_kept(run_of(self.path))
        untold = unjudged(self.metrics, self.steps, self.step, None if where is None else where.backbone)
        lines += [f"attention, not judged: {sentence}" for sentence in untold]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rest = str(self).split("\n")
        cells = {c.quantity: [None, None, None] for c in self.changes}  # type: dict[str, list[float | None]]
        for c in self.changes:
            cells[c.quantity][0] = c.before
            cells[c.quantity][1 if c.network == "student" else 2] = c.after
        columns = 3 if any(c.network == "teacher" for c in self.changes) else 2
        heads = ("before", "student after", "teacher after")[:columns]
        rows = "".join(
            f"<tr><th scope='row' style='text-align:left'>{html.escape(name)}</th>"
            + "".join(f"<td>{'–' if value is None else f'{value:.4g}'}</td>" for value in values[:columns])
            + "</tr>"
            for name, values in cells.items()
        )
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in rest if line.startswith("attention"))
        named = "".join(f"<th>{name}</th>" for name in heads)
        measured = f"<table><thead><tr><th></th>{named}</tr></thead><tbody>{rows}</tbody></table>"
        if not self.changes:
            measured = f"<p>{html.escape(rest[0])}</p>"
        return f"<p><b>{html.escape(head)}</b></p>{measured}{notes}"


def _which(network: Which) -> Which:
    if network not in get_args(Which):
        raise UserError(f"network is {network!r}; it is one of {', '.join(get_args(Which))}")
    return network
