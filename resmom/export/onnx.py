"""A backbone as an ONNX file, which onnxruntime runs without torch: in Python, C++, browsers and phones.

Its one input, `image`, has pixels in [0, 1]; the run's normalisation is the first thing in the graph. Its one output,
`features`, is h; a classifier's is `probabilities`. torch's exporter traces the network (`dynamo=True`; the older one
is deprecated) and onnxscript translates it, both on this machine; what is written is then run and compared with torch.
"""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from resmom.errors import UserError
from resmom.export.weights import About
from resmom.extras import importable, lacking
from resmom.nets.backbones import Backbone
from resmom.version import VERSION

OPSET = 18
"""The version of ONNX's operators to which torch translates without a conversion; onnxruntime has it since 1.14."""
NEAR = 1e-4
"""The largest difference from torch, over the largest feature, with which a file is kept. Sums in another order make
1e-6; an operator that means something else makes more."""
WHOLE = 2**31 - 1
"""Bytes of the largest message that protobuf writes; of more, the weights lie in a file beside."""
DRAWN = 4
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


class ExportError(UserError):
    """A network that ONNX, the exporter or onnxruntime cannot hold as it is."""


@dataclass(frozen=True)
class Checked:
    """What was found of a file: whether it takes images of any height and width, and the largest difference between
    onnxruntime's output and torch's, over the largest number in torch's, of so many images."""

    any_size: bool
    difference: float
    images: int


class Whole(nn.Module):
    """A backbone behind its normalisation; with a layer on it, a classifier."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: Backbone, mean: tuple[float, ...], std: tuple[float, ...], layer: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.layer = backbone, layer
        self.output = "features" if layer is None else "probabilities"
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, image: Float32[Tensor, "n c height width"]) -> Float32[Tensor, "n d"]:
        h: Tensor = self.backbone((image - self.mean) / self.std)[1]
        if self.layer is None:
            return h.float()
        votes: Tensor = self.layer(h.float())
        return votes.softmax(1)


def require_onnx() -> None:
    """Raise UserError where a package of the extra `onnx` is not here."""
    if missing := [name for name in _PACKAGES if not importable(name)]:
        raise UserError(lacking("ONNX files need", *missing))


def save_onnx(
    path: Path, backbone: Backbone, about: About, more: Mapping[str, str], layer: nn.Linear | None = None
) -> Checked:
    """Write the file of a backbone on the CPU, which is put into evaluation mode, and check it. Not atomic. With a
    `layer` on h it is a classifier's.

    The batch is of any size; height and width too where the backbone gives a map and the file is as near to torch at
    other sizes, else they are `about.side`. `more`: texts for the metadata beside those of `about`.

    Raises ExportError where the exporter or onnxruntime cannot, or where the two differ by more than NEAR; the file
    is then not there. `require_onnx` comes before.
    """
    network = Whole(backbone, about.mean, about.std, layer).eval().requires_grad_(False)
    images = drawn(len(about.mean), about.side)
    # Modules that torch.compile wraps are traced as what they wrap, and those that compile themselves as they are.
    with torch.no_grad(), _unwrapped(network), torch.compiler.set_stance("force_eager"):
        if _takes_any_size(backbone, images):
            try:
                return _tried(path, network, images, others(images, network), about, more)
            except ExportError:
                pass  # of one size then: what it raises is told
        return _tried(path, network, images, [], about, more)


@contextmanager
def _unwrapped(network: nn.Module) -> Iterator[None]:
    """Inside the block modules are themselves, and not in the hands of torch.compile, which torch 2.8 cannot trace."""
    from torch._dynamo.eval_frame import OptimizedModule  # a second to import

    parents = list(network.modules())
    wrapped = [(p, name, m) for p in parents for name, m in p.named_children() if isinstance(m, OptimizedModule)]
    for parent, name, module in wrapped:
        setattr(parent, name, module._orig_mod)
    try:
        yield
    finally:
        for parent, name, module in wrapped:
            setattr(parent, name, module)


def _takes_any_size(backbone: Backbone, images: Float32[Tensor, "n c side side"]) -> bool:
    """Whether it gives a map, and pads by what is fixed: layers that pad by the size of their input, as in TensorFlow
    (timm's Conv2dSame), would have the exporter solve equations for hours."""
    maps: bool = backbone(images[:2])[0].ndim == 4
    return maps and not any("Same" in type(part).__name__ for part in backbone.modules())


def drawn(channels: int, side: int) -> Float32[Tensor, "n c side side"]:
    """Images to compare by, in [0, 1]: light and dark places with some noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(DRAWN, channels, 5, 5, generator=generator)
    light = nn.functional.interpolate(places, (side, side), mode="bilinear")
    return 0.8 * light + 0.2 * torch.rand(DRAWN, channels, side, side, generator=generator)


def others(images: Float32[Tensor, "n c _ _"], network: nn.Module) -> list[Float32[Tensor, "_ c _ _"]]:
    """The same images at sizes that no stride divides, larger and smaller; those of them that the network takes.

    Raises ExportError where it does not take the larger ones.
    """
    side = images.shape[-1]
    made = [
        nn.functional.interpolate(images[:number], size, mode="bilinear")
        for number, size in ((1, (side + 37, side + 18)), (3, (side + 1, side)), (2, (side * 3 // 4 | 1, side)))
    ]
    taken = []
    for batch in made:
        try:
            network(batch)
        except Exception as error:
            if batch.shape[-2] > side:
                raise ExportError(_told(error)) from error
            continue
        taken.append(batch)
    return taken


def _tried(
    path: Path,
    network: Whole,
    images: Float32[Tensor, "n c side side"],
    sizes: list[Float32[Tensor, "_ c _ _"]],
    about: About,
    more: Mapping[str, str],
) -> Checked:
    """Write the file, for any size where there are images of other `sizes`, and compare. Raises ExportError."""
    batches = [images, images[:1], *sizes]
    try:
        _write(path, _translated(network, images, any_size=bool(sizes)), about, more, any_size=bool(sizes))
        difference = _difference(path, network, batches)
        if not difference <= NEAR:  # nan, too
            raise ExportError(
                f"what onnxruntime computes with it differs from torch by {difference:.1e} of the largest "
                f"{'feature' if network.layer is None else 'probability'}, and more than {NEAR:.0e} is no rounding; no "
                "file was kept"
            )
    except ExportError:
        for file in parts(path):
            file.unlink(missing_ok=True)
        raise
    return Checked(bool(sizes), difference, sum(len(batch) for batch in batches))


def parts(path: Path) -> tuple[Path, Path]:
    """The file, and the one beside it that holds the weights where they are too many for one."""
    return path, path.with_name(f"{path.name}.data")


def _translated(network: Whole, images: Float[Tensor, "n c side side"], any_size: bool) -> Any:
    """The network as ONNX's ModelProto. Raises ExportError."""
    free = {0: torch.export.Dim.DYNAMIC}
    if any_size:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
        # Twice the size: where a map has one place only, the trace would take that for granted.
        images = images.repeat(1, 1, 2, 2)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (images[:2],),
                dynamo=True,
                opset_version=OPSET,
                input_names=["image"],
                output_names=[network.output],
                dynamic_shapes=(free,),
                verbose=False,
            )
            assert program is not None
            return program.model_proto
    except Exception as error:  # whatever a module of others raises while it is traced
        raise ExportError(f"torch's exporter cannot translate it ({_told(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is printed, warned of or logged: exporter and translator tell of their progress and their findings."""
    was = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(was)


def _write(path: Path, model: Any, about: About, more: Mapping[str, str], any_size: bool) -> None:
    import onnx

    _without_traces(model)
    model.producer_name, model.producer_version = "resmom", VERSION
    channels = len(about.mean)
    sides = "height x width" if any_size else f"{about.side} x {about.side}"
    model.doc_string = (
        f"image: N x {channels} x {sides}, float32, pixels in [0, 1], not normalised (mean and std are in the graph); "
        f"{model.graph.output[0].name}: N x D, float32"
    )
    said = {key: value for key, value in about.metadata().items() if key != "format"}
    onnx.helper.set_model_props(model, {**said, **more, "normalised": "in the graph", "pixels": "in [0, 1]"})
    given = model.graph.input[0].type.tensor_type.shape.dim
    names = {0: "batch", 2: "height", 3: "width"} if any_size else {0: "batch"}
    for place, name in names.items():
        given[place].dim_param = name
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    if model.ByteSize() <= WHOLE:
        path.write_bytes(model.SerializeToString(deterministic=True))
    else:
        onnx.save_model(model, path, save_as_external_data=True, location=parts(path)[1].name)


def _without_traces(model: Any) -> None:
    """Take out what the exporter notes beside the graph: source lines with their paths, shapes under its own names."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.graph.doc_string = ""
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.functions, *_nodes(model)):
        part.doc_string = ""
        del part.metadata_props[:]


def _nodes(model: Any) -> Iterator[Any]:
    """All nodes, those of branches, loops and functions too."""
    graphs = [model.graph, *model.functions]
    while graphs:
        for node in graphs.pop().node:
            yield node
            for attribute in node.attribute:
                graphs += [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]


def _difference(path: Path, network: Whole, batches: list[Float32[Tensor, "_ c _ _"]]) -> float:
    """The largest difference between onnxruntime and torch, over the largest number of torch's. Raises ExportError."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # its builds for Windows have some
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        found = [torch.from_numpy(session.run([network.output], {"image": batch.numpy()})[0]) for batch in batches]
    except Exception as error:  # onnxruntime's own have no class in common
        raise ExportError(f"onnxruntime cannot run what torch's exporter made of it ({_told(error)})") from error
    true = [network(batch) for batch in batches]
    if any(one.shape != other.shape for one, other in zip(found, true, strict=True)):
        raise ExportError("onnxruntime's features have another shape than torch's")
    largest = max(one.abs().max().item() for one in true)
    apart: float = max((one - other).abs().max().item() for one, other in zip(found, true, strict=True))
    return apart / (largest or 1.0)


def _told(error: BaseException) -> str:
    """The first line of what an error came from; where that announces a list, its first entry too."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    told = " ".join(lines[: 1 + lines[0].endswith(":")])
    return f"{type(error).__name__}: {told[:300].rstrip('.')}"
