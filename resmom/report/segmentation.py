"""The section on segmentation networks: what is measured of them, and the sentences beside their masks."""

from collections.abc import Sequence

from resmom.report.charts import Chart, Curve
from resmom.report.contents import Mask, MaskPhoto, Part
from resmom.report.tuned import Record, Wording, digits

NBSP = "\N{NO-BREAK SPACE}"
SCORES = (("miou", "mIoU"), ("pixel_accuracy", "pixel accuracy"))
MEASURED = (
    Chart("mIoU", "On the test images, %.", (Curve("segmentation", "miou", "mIoU"),), digits=digits, from_zero=True),
    Chart("Pixel accuracy", "On the test images, %.", (Curve("segmentation", "pixel_accuracy", "pixel accuracy"),),
          digits=digits, from_zero=True),
)  # fmt: skip
LOSS = Chart("Loss", "Mean cross-entropy of the pixels while it learns.", (Curve("train", "loss", "loss"),))
PASSES = (
    Chart("Loss, first pass", "Sum over all learning rates tried.", (Curve("train", "loss/tried", "loss"),)),
    Chart("Loss, second pass", "Of the chosen learning rate.", (Curve("train", "loss/chosen", "loss"),)),
)
"""Of a linear probe, whose two passes learn different things."""


def _charts(record: Record) -> Sequence[Chart]:
    passes = any("loss/tried" in line for each in record.networks for line in each.lines)
    return (*MEASURED, *PASSES) if passes else (*MEASURED, LOSS)


WORDING = Wording("segmentation network", "mIoU and pixel accuracy, %", SCORES, (("per_class", "IoU"),), _charts)


def legend(photos: Sequence[MaskPhoto]) -> list[Part]:
    """The classes that any mask shows, each once, in the order of their colours."""
    found = {part.name: part for photo in photos for mask in (photo.truth, *photo.said) for part in mask.parts}
    return sorted(found.values(), key=lambda part: (part.colour, part.name))


def has_void(photos: Sequence[MaskPhoto]) -> bool:
    """Whether a true mask has pixels that count for nothing."""
    return any(photo.truth.void > 0 for photo in photos)


def right(photos: Sequence[MaskPhoto], network: int) -> str:
    """The share of right pixels in words, of one photo or as the mean over several."""
    shares = [photo.said[network].right or 0.0 for photo in photos]
    return f"{sum(shares) / len(shares):.0f}{NBSP}% right"


def parts(mask: Mask, most: int = 6) -> str:
    """What a mask says in words: its largest classes and their shares of the pixels."""
    named = [f"{part.name} {_share(part.share)}" for part in mask.parts[:most]]
    rest = len(mask.parts) - most
    more = [f"{rest} more"] if rest > 0 else []
    void = [f"void {_share(mask.void)}"] if mask.void else []
    return ", ".join([*named, *more, *void])


def _share(share: float) -> str:
    return f"{share:.0f}{NBSP}%" if share >= 0.5 else f"under 1{NBSP}%"
