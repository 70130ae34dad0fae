"""How deep a parameter lies in a backbone, and the learning rate that this gives it in fine-tuning."""

from collections.abc import Mapping

from torch import nn

from resmom.nets.layers import layers


def depths(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of every parameter by name, and the number L of layers.

    0 for what stands before the layers (stem; patch embedding, positions, class token), 1 … L within them (stages of a
    ResNet, blocks of a Vision Transformer), L + 1 after them (the last normalisation), where a classifier is too.
    """
    # The order of registration, in which all networks that we know are run.
    order = {module: number for number, module in enumerate(backbone.modules())}
    found = layers(backbone)
    stem, ends = -1, []
    for number, (_, module) in enumerate(found):
        inside = [order[part] for part in module.modules()]
        weighs = any(True for _ in module.parameters())
        if number == 0:
            # A stem is announced by what it ends with, an activation or a pooling, which has no weights.
            stem = min(inside) - 1 if weighs else max(inside)
        if weighs:
            ends.append(max(inside))
    last = len(ends)
    depth: dict[str, int] = {}
    for prefix, module in backbone.named_modules():
        at = order[module]
        level = 0 if at <= stem else next((k for k, end in enumerate(ends, start=1) if at <= end), last + 1)
        for name, _ in module.named_parameters(recurse=False):
            depth[f"{prefix}.{name}" if prefix else name] = level
    return depth, last


def layer_rates(backbone: nn.Module, decay: float, prefix: str = "") -> Mapping[str, float]:
    """The factor of each parameter's learning rate, decay^(L + 1 - depth): a classifier's is 1.

    By its name in the backbone, with `prefix` before it. The rule of Clark et al. 2020 (ELECTRA, arXiv 2003.10555),
    counted as BEiT (arXiv 2106.08254) counts it.
    """
    depth, last = depths(backbone)
    return {prefix + name: decay ** (last + 1 - level) for name, level in depth.items()}
