"""The part of a card that says how its files are used: lines for Python, a configuration for Detectron2."""

from collections.abc import Mapping
from dataclasses import dataclass

from resmom.export.loading import RUN_LINES, onnx_preparing_lines, preparing_lines
from resmom.views.policy import Interpolation
from resmom.which import Form


@dataclass(frozen=True)
class File:
    """An exported file and the lines of Python that load it, or those of a Detectron2 configuration that do.

    `told`: a sentence of the card on this file.
    """

    name: str
    loading: str
    form: Form = "safetensors"
    told: str = ""


def use(
    files: Mapping[str, File],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    side: int,
    resize: Interpolation,
    width: str,
) -> list[str]:
    """The paragraphs. All files are of one form; the rest is as in `Card`."""
    form = next(iter(files.values())).form
    if form == "detectron2":
        return _detectron2(files)
    shown = f"Images of {side} x {side} pixels, {_channels(mean)}, scaled to [0, 1]"
    if form == "onnx":
        return _onnx(files, shown, mean, std, onnx_preparing_lines(len(mean), side, resize))
    return _python(files, shown, mean, std, preparing_lines(mean, std, side, resize), width)


def _detectron2(files: Mapping[str, File]) -> list[str]:
    parts = [
        "## Use",
        "Weights under the names of Detectron2's ResNet, without a classifier. Lines to add to one of its "
        "configurations; mean and deviation go with the weights, for pixels in [0, 255]; others give other features.",
    ]
    for network, file in files.items():
        parts += [f"The {network}:", _code(file.loading, "yaml")]
    return [
        *parts,
        'With a feature pyramid, its new layers are normalised too: `MODEL.FPN.NORM: "SyncBN"`. On one device `BN` '
        "computes the same.",
    ]


def _python(
    files: Mapping[str, File],
    shown: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    prepare: str,
    width: str,
) -> list[str]:
    parts = [
        "## Use",
        f"{shown}, then normalised by mean {_numbers(mean)} and standard deviation {_numbers(std)}. Another "
        "normalisation gives other features.",
        _code(prepare),
    ]
    for network, file in files.items():
        parts += [f"The {network}:", _code(file.loading)]
    return [
        *parts,
        "Then, for a batch of normalised images N x C x S x S:",
        _code("with torch.no_grad():\n    h = network(images)  # N x D"),
        _PROBE,
        "To **fine-tune**: put a classifier behind it and train everything, the encoder at a tenth of the classifier's "
        "learning rate or less:",
        _code(
            "classes = 10  # how many yours are\n"
            f"model = torch.nn.Sequential(network, torch.nn.Linear({width}, classes)).train()\n"
            "optimizer = torch.optim.SGD([\n"
            '    {"params": model[0].parameters(), "lr": 0.01},\n'
            '    {"params": model[1].parameters(), "lr": 0.1},\n'
            "], momentum=0.9)"
        ),
    ]


def _onnx(
    files: Mapping[str, File], shown: str, mean: tuple[float, ...], std: tuple[float, ...], prepare: str
) -> list[str]:
    parts = [
        "## Use",
        f"{shown}, rows of planes: N x {len(mean)} x S x S, float32. **Do not normalise them**: mean {_numbers(mean)} "
        f"and standard deviation {_numbers(std)} are in the graph. With onnxruntime, NumPy and Pillow:",
        _code(prepare),
    ]
    for network, file in files.items():
        parts += [f"The {network}. {file.told}", _code(file.loading)]
    return [*parts, "Then:", _code(RUN_LINES), _PROBE]


_PROBE = (
    "To **classify** on frozen features (a linear probe): compute `h` of all labelled images once, standardise each "
    "dimension by its mean and standard deviation over them, and fit a logistic regression, for instance "
    "`sklearn.linear_model.LogisticRegression(C=0.1, max_iter=1000)`."
)


def _channels(mean: tuple[float, ...]) -> str:
    return {1: "grey", 3: "RGB"}.get(len(mean), f"{len(mean)} channels")


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _code(lines: str, language: str = "python") -> str:
    return f"```{language}\n{lines}\n```"
