"""The card of weights without a run: where they are from, what was assumed, and how the file is used."""

from collections.abc import Sequence
from dataclasses import dataclass

from resmom.export.use import File, use
from resmom.views.policy import Interpolation


@dataclass(frozen=True)
class AloneCard:
    """All that the card says. `told`: sentences on where the weights are from and what images they are shown.

    The rest is as in `Card`.
    """

    title: str
    told: Sequence[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    side: int
    resize: Interpolation
    width: str
    file: File


def alone_card(card: AloneCard) -> str:
    """The whole page, in Markdown."""
    parts = [
        f"# {card.title}",
        "An image encoder, backbone only. How it was trained is not known here.",
        "## What was found and assumed",
        "\n".join(f"- {sentence}" for sentence in card.told),
        "What is assumed is yours to check: another size or normalisation than in pretraining makes features worse.",
        *use({"weights": card.file}, card.mean, card.std, card.side, card.resize, card.width),
        "## Licence and limitations",
        "What may be done with these weights depends on the terms of whoever published them, and of the images they "
        "were trained on. Nothing was measured of them here: `resmom evaluate --init FILE --data LABELLED` does that.",
    ]
    return "\n\n".join(parts) + "\n"
