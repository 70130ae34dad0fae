"""The layers of a backbone, and what they say of a view, pooled to one row per image.

Layers are the natural stages of a network: after the stem and each stage of a ResNet, after each block of a Vision
Transformer, and for any other timm model where its own `feature_info` says.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from resmom.nets.backbones import Backbone

POOLING = "maps as the mean over space, tokens as the network makes h of them: class token, or mean over patches"
"""How a layer's output becomes one row per image; say it beside the numbers."""


def layers(backbone: nn.Module) -> list[tuple[str, nn.Module]]:
    """Names and modules in order of depth.

    `stem`, `stage1`, … for our ResNets; the modules' own names (`blocks.0`, `stages.3`) for a timm model; the children
    of any other network, where a lone container counts as what it contains.
    """
    from torchvision.models import resnet  # takes seconds, which a command that reads no layers need not wait for

    body, blocks = _body(backbone), (resnet.BasicBlock, resnet.Bottleneck)
    if isinstance(body, resnet.ResNet):
        stages = [body.layer1, body.layer2, body.layer3, body.layer4]
        return [("stem", body.maxpool), *((f"stage{number}", stage) for number, stage in enumerate(stages, start=1))]
    named = [(name, body.get_submodule(name)) for name in _announced(body)]
    if named:
        return named
    children = _inside(body)
    return _grouped(children, blocks) if any(isinstance(child, blocks) for _, child in children) else children


@contextmanager
def reading(backbone: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While it is open, a forward pass of the backbone leaves each layer's pooled output (N x width) in the dictionary.

    The next pass replaces them. A layer that does not run, or whose output is no tensor, has no entry. Outputs are
    pooled at once and detached; maps are not kept. Nothing stays on the backbone afterwards, also after an error.
    """
    body, pooled = _body(backbone), dict[str, Tensor]()
    widths = _announced(body)
    with ExitStack() as hooks:
        for name, module in layers(backbone):
            read = partial(_read, pooled, name, body, widths.get(name))
            hooks.callback(module.register_forward_hook(read).remove)
        yield pooled


def _read(
    pooled: dict[str, Tensor], name: str, body: nn.Module, width: int | None, module: nn.Module, given: Any, out: Any
) -> None:
    if isinstance(out, Tensor) and out.ndim in (2, 3, 4):
        pooled[name] = _pool(out.detach(), body, width)


def _pool(out: Tensor, body: nn.Module, width: int | None) -> Tensor:
    if out.ndim == 4:
        # Some of timm's transformers have channels last.
        last = width is not None and out.shape[3] == width != out.shape[1]
        return out.mean((1, 2) if last else (2, 3))
    if out.ndim == 3:
        # The class token is there only if there are more tokens than patches: some networks add it in a late block.
        patches = getattr(getattr(body, "patch_embed", None), "num_patches", None)
        extra = 0 if patches is None else max(0, out.shape[1] - patches)
        return out[:, 0] if extra and getattr(body, "global_pool", None) == "token" else out[:, extra:].mean(1)
    return out


def _body(backbone: nn.Module) -> nn.Module:
    return backbone.body if isinstance(backbone, Backbone) else backbone


def _announced(body: nn.Module) -> dict[str, int]:
    """Where timm says that a model's stages end: names of modules, with the number of channels there."""
    info = getattr(body, "feature_info", None)
    if not isinstance(info, list):
        return {}
    modules = dict(body.named_modules())
    # A few models name what is no module of theirs, or themselves.
    return {stage["module"]: stage["num_chs"] for stage in info if stage["module"] and stage["module"] in modules}


def _inside(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """The children; a lone one that has children itself, and any list, which never runs, stand for what they hold."""
    children = [(prefix + name, child) for name, child in module.named_children()]
    if len(children) == 1 and any(True for _ in children[0][1].children()):
        return _inside(children[0][1], children[0][0] + ".")
    parts: list[tuple[str, nn.Module]] = []
    for name, child in children:
        parts += _inside(child, name + ".") if isinstance(child, nn.ModuleList) else [(name, child)]
    return parts


def _grouped(parts: list[tuple[str, nn.Module]], blocks: tuple[type[nn.Module], ...]) -> list[tuple[str, nn.Module]]:
    """Residual blocks in a row as stages; what stands before the first block is the stem.

    A stage ends before a block that makes the map smaller.
    """
    ends: list[nn.Module] = []
    for (_, part), (_, following) in pairwise(parts):
        begins = isinstance(following, blocks) and (not isinstance(part, blocks) or following.stride != 1)
        if begins:
            ends.append(part)
    ends.append(parts[-1][1])
    first = 1 if isinstance(parts[0][1], blocks) else 0
    return [("stem" if number == 0 else f"stage{number}", module) for number, module in enumerate(ends, start=first)]
