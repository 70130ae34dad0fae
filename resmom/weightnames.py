"""Weights that are named where a run, with its settings and checkpoints, belongs."""

from pathlib import Path

from resmom.called import either

WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
"""Ends of files that weights are kept in."""


def names_weights(path: Path | str) -> bool:
    """Whether what is named as a run are weights: a file of them, or a model of timm's. Of an archive nobody knows."""
    file = Path(path)
    return str(path).startswith("timm:") or (
        file.is_file() and file.suffix in WEIGHTS[:-1] and file.parent.name != "checkpoints"
    )


def not_weights(path: Path | str) -> str:
    """That weights are no run, and what takes them."""
    return f"{path} is weights, not a run: " + either(
        f"name them by --init {path}, which pretrain, compare, evaluate, embed, export, detect train and segment train "
        "have",
        f"resmom.weights({str(path)!r}) measures, embeds and exports them, and pretrain starts from them with "
        f"init={str(path)!r}",
    )
