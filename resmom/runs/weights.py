"""Weights without a run, as one object for Python: measured, embedded and exported as a run's are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from torch import nn

from resmom.arguments import arguments_checked
from resmom.errors import UserError
from resmom.evaluate.settings import Finetune, Linear, LinearCrop, OtherKnn
from resmom.nets.backbones import BackboneConfig
from resmom.runs.alone.bare import Bare, bare
from resmom.runs.exporting.alone import export_alone
from resmom.runs.exporting.embed import Embedded, embed_alone
from resmom.runs.exporting.export import Exported
from resmom.runs.generators import generators_kept
from resmom.runs.images import images_opened
from resmom.runs.measuring.alone import evaluate_alone
from resmom.runs.measuring.asked import ALONE, Protocol, asked
from resmom.runs.measuring.rows import Row
from resmom.which import Form, H, Stem


@dataclass(frozen=True, repr=False)
class Weights:
    """A backbone by itself: the weights of a file, random ones, or a module's. `print` says what was found and assumed.

    Only `h` exists: there is no teacher, no projector and no online classifier.
    """

    bare: Bare

    @property
    def told(self) -> tuple[str, ...]:
        """What was taken of the file, and what images the weights are shown, in sentences."""
        return self.bare.told

    @property
    def image_size(self) -> int:
        """Side in pixels of the images that they are shown."""
        return self.bare.side

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel of pixels in [0, 1], which is subtracted; then they are divided by `std`."""
        return self.bare.policy.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.bare.policy.std

    def network(self) -> nn.Module:
        """The encoder in evaluation mode, taking no gradient: N x C x S x S views, normalised, to an Encoding; its `h`
        is the representation, and `z` the same, for there is no projector.
        """
        return self.bare.encoder.requires_grad_(False)

    @arguments_checked()
    @generators_kept()
    def evaluate(
        self,
        data: object,
        protocols: Protocol | Sequence[Protocol] | None = None,
        baselines: bool = False,
        linear: Linear | None = None,
        *,
        test: object = None,
        knn: OtherKnn | None = None,
        linear_crop: bool | LinearCrop = False,
        low_shot: int | Sequence[int] | None = None,
        finetune: bool | Finetune = False,
        sweep: bool = False,
        labels: str | float | Path = "",
        seed: int = 0,
        draws: int | None = None,
        out: str | Path | None = None,
    ) -> list[Row]:
        """Measure them on labelled images, as `resmom evaluate --init FILE` does: kNN and the linear probe by default.

        `data` and `test` as for `resmom.pretrain`; the rest as for `Result.evaluate`, where k and temperature are 20
        and 0.07 if `knn` does not say otherwise. `out`: a folder to whose evaluations.jsonl every row is added when it
        is measured. Raises UserError for images without labels, and for what needs a run; Incomplete as
        `Result.evaluate` does.
        """
        wanted = asked(
            protocols,
            usual=ALONE,
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
        )
        opened = images_opened(data, test)
        return evaluate_alone(self.bare, opened, wanted, None if out is None else Path(out))

    @arguments_checked()
    @generators_kept()
    def embed(self, out: str | Path, data: object, layer: str = H) -> Embedded:
        """What they say of every image, as arrays in the new file `out`, .npz, as `resmom embed --init FILE` does.

        `data` as for `resmom.pretrain`; `layer`: other features than h, by the names that a sweep prints.
        """
        return embed_alone(self.bare, Path(out), images_opened(data), layer)

    @arguments_checked()
    @generators_kept()
    def export(self, out: str | Path, to: Form = "safetensors") -> Exported:
        """Write them and a card to the folder `out`, as `resmom export --init FILE --to` does.

        Raises UserError for another format, and for a backbone that the format cannot hold.
        """
        if to not in get_args(Form):
            raise UserError(f"to is {to!r}; it is one of {', '.join(get_args(Form))}")
        return export_alone(self.bare, Path(out), to)

    def __repr__(self) -> str:
        return f"<resmom.Weights of {self.bare.what}, images of {self.image_size} pixels; print it for what is assumed>"

    def __str__(self) -> str:
        return "\n".join((self.bare.what, *self.told))


@arguments_checked()
@generators_kept()
def weights(
    init: str | Path | None = None,
    *,
    backbone: str | BackboneConfig | nn.Module | None = None,
    stem: Stem | None = None,
    image_size: int | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    seed: int = 0,
    device: str = "auto",
) -> Weights:
    """Weights without a run: those of the file `init`, whoever wrote it, to be measured beside a run's.

    `backbone`: what they are the weights of, where the file does not tell and they are of no common backbone: a name as
    on the command line ("timm:vit_small_patch16_224"), a configuration of `resmom.nets.backbones`, or a module of your
    own (views to N x D, or to a map), which is copied and without `init` keeps the weights it has. A name without
    `init` gives random weights by `seed`. `stem`, `image_size` (pixels), `mean` and `std` (of pixels in [0, 1]): what
    they were trained with, where the file does not say it. Raises ConfigError for what cannot be had.
    """
    file = "" if init is None else str(init)
    shown = tuple(map(float, mean)), tuple(map(float, std))
    return Weights(
        bare(file, backbone, stem=stem, image_size=image_size, mean=shown[0], std=shown[1], seed=seed, device=device)
    )
