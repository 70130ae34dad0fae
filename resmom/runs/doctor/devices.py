"""What can be computed on: which devices torch finds, and why not others; and does each compute what the CPU does?"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from resmom.report.numbers import size
from resmom.runs.doctor.finding import Answer, Finding, answer

Bf16 = Literal["native", "emulated", "unknown"]

DRIVER = Path("/proc/driver/nvidia/version")
"""Where the NVIDIA driver says that it is loaded, and in which version."""
NO_GPU = "No CUDA GPUs are available"
"""What torch says where the driver is fine and hands out nothing."""
LEAST_MEMORY = 2**30
"""Bytes of a GPU without which little fits into it."""
LOSS = 0.01
"""Relative difference of the loss to the CPU's: TF32 rounds products to 5e-4, bf16 to 4e-3."""
LOSS_BF16 = 0.05
MOVE = 0.1
"""Relative difference of how the weights move; a gradient feels rounding more than a loss does."""


@dataclass(frozen=True)
class Found:
    """What torch sees."""

    built: str
    """What torch was built for beside the CPU: "CUDA 13.0", "ROCm 6.4"; empty for a build without."""
    driver: str
    """What the NVIDIA driver says of itself; empty where none is loaded."""
    visible: str | None
    """CUDA_VISIBLE_DEVICES, None where it is not set."""
    reason: str
    """Why torch finds no GPU, in its own words."""
    devices: tuple[str, ...]
    """cpu, cuda:0, cuda:1, … mps."""


@dataclass(frozen=True)
class Device:
    """A device, and one training step on it. Differences are relative; None: not finite, or not sought."""

    name: str
    model: str
    bf16: Bf16
    loss: float | None
    """Of the loss in fp32 to that of the reference: the CPU in fp32, for the CPU itself in fp64."""
    move: float | None
    """Of the change of the student's weights in that step."""
    loss_bf16: float | None = None
    """Of the loss in bf16; not measured, and None, where that is not native."""
    free: int | None = None
    """Bytes; None where the device has no memory of its own."""
    total: int | None = None
    capability: tuple[int, int] | None = None
    compiled: tuple[str, ...] = ()
    """Architectures that torch was compiled for: sm_90, compute_90."""


def devices() -> Answer:
    """The probe of what torch finds."""
    import torch

    names, reason = ["cpu"], ""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            names += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        else:
            try:
                torch.cuda.init()  # type: ignore[no-untyped-call]
            except (RuntimeError, AssertionError) as error:
                reason = str(error).splitlines()[0]
    reason = next((str(one.message).splitlines()[0] for one in said if "CUDA" in str(one.message)), reason)
    if torch.backends.mps.is_available():
        names.append("mps")
    cuda, rocm = torch.version.cuda, torch.version.hip
    built = f"CUDA {cuda}" if cuda else f"ROCm {rocm}" if rocm else ""
    driver = DRIVER.read_text().splitlines()[0].partition(":")[2].strip() if DRIVER.exists() else ""
    found = Found(built, driver, os.environ.get("CUDA_VISIBLE_DEVICES"), reason, tuple(names))
    return answer(found, judge_found(found))


def judge_found(found: Found) -> Iterator[Finding]:
    about, gpus = "devices", [name for name in found.devices if name.startswith("cuda")]
    if gpus:
        words = f"torch, built for {found.built}, finds {len(gpus)} GPU{'s' * (len(gpus) > 1)}"
        yield Finding(about, "ok", f"{words}; without --device, {gpus[0]} is used.")
    elif found.driver and not found.built:
        yield Finding(
            about,
            "problem",
            f"there is an NVIDIA GPU ({found.driver}), and torch is a build without CUDA: all runs on the CPU.",
            "install torch and torchvision anew, a build for CUDA; PyTorch's page of installation tells the command",
        )
    elif found.driver and NO_GPU in found.reason:
        why = "" if found.visible is None else f" (CUDA_VISIBLE_DEVICES is '{found.visible}')"
        yield Finding(
            about,
            "note",
            f"an NVIDIA driver is loaded, and this process is given no GPU{why}: all runs on the CPU.",
            "to use one, unset CUDA_VISIBLE_DEVICES; in a job or a container, ask for a GPU when it is started",
        )
    elif found.driver:
        yield Finding(
            about,
            "problem",
            f"there is an NVIDIA GPU ({found.driver}), and torch, built for {found.built}, cannot use it: "
            f"{found.reason}",
            f"update the driver to one for {found.built}, or install a build of torch for the CUDA that the driver has "
            "(nvidia-smi tells which)",
        )
    elif "mps" in found.devices:
        yield Finding(about, "ok", "the CPU, and Apple's GPU with --device mps, which resmom is not tested on.")
    else:
        yield Finding(about, "ok", "no GPU: all runs on the CPU.")


def device(name: str) -> Answer:
    """The probe of one device: a training step on it beside one on the CPU."""
    import torch

    from resmom.runs.doctor.step import small_step
    from resmom.runs.settling.facts import emulates_bf16, fast_bf16

    where = torch.device(name)
    bf16: Bf16 = "native" if fast_bf16(where) else "emulated" if emulates_bf16(where) else "unknown"
    found = Device(name, "", bf16, None, None)
    if where.type == "cuda":
        free, total = torch.cuda.mem_get_info(where)
        found = replace(
            found,
            model=torch.cuda.get_device_name(where),
            free=free,
            total=total,
            capability=torch.cuda.get_device_capability(where),
            compiled=tuple(torch.cuda.get_arch_list()),
        )
    if _compiled_for(found):
        reference = small_step(torch.device("cpu"), double=name == "cpu")
        loss, move = small_step(where).apart(reference)
        half = small_step(where, "bf16").apart(reference)[0] if bf16 == "native" else None
        found = replace(found, loss=loss, move=move, loss_bf16=half)
    return answer(found, judge_device(found))


def judge_device(found: Device) -> Iterator[Finding]:
    about = found.name
    words = f"{found.model}, " if found.model else ""
    if found.free is not None and found.total is not None:
        words += f"{size(found.free)} of {size(found.total)} free, "
    if not _compiled_for(found):
        assert found.capability is not None
        yield Finding(
            about,
            "problem",
            f"{words}is of compute capability {found.capability[0]}.{found.capability[1]}, and torch was compiled for "
            f"{', '.join(found.compiled)}.",
            "install a build of torch for this GPU: a newer one for a newer GPU, an older one for an older GPU",
        )
        return
    if wrong := _wrong(found):
        against = "the same step in fp64" if found.name == "cpu" else "the CPU's"
        yield Finding(
            about,
            "problem",
            f"{words}a small training step differs from {against}: {', '.join(wrong)} (relative).",
            "update torch and the driver, and run this again; if it stays, the device is not to be trusted",
        )
        return
    words += "a small training step is right"
    if found.free is not None and found.free < LEAST_MEMORY:
        remedy = "end what else uses it (nvidia-smi lists it), or take another --device"
        yield Finding(about, "problem", f"{words}, but there is no memory left for larger ones.", remedy)
    elif found.free is not None and found.total is not None and found.free < found.total / 2:
        remedy = "end what else uses it (nvidia-smi lists it), or take another --device, or smaller batches"
        yield Finding(about, "note", f"{words}, but others hold most of the memory.", remedy)
    elif found.bf16 == "emulated":
        yield Finding(
            about,
            "note",
            f"{words}; bf16 is emulated, which takes several times as long as fp32.",
            "--train.precision fp32 with recipes in bf16 (a run without a recipe is in fp32 here)",
        )
    else:
        yield Finding(about, "ok", f"{words}" + ("; bf16 is native." if found.bf16 == "native" else "."))


def _wrong(found: Device) -> list[str]:
    """What of the step differs by more than rounding."""
    limits = [("loss", found.loss, LOSS), ("weights' move", found.move, MOVE)]
    if found.bf16 == "native":
        limits.append(("loss in bf16", found.loss_bf16, LOSS_BF16))
    return [
        f"the {what} is not finite" if value is None else f"the {what} by {value:.1e}"
        for what, value, limit in limits
        if value is None or value > limit
    ]


def _compiled_for(found: Device) -> bool:
    """Whether one of torch's binaries runs on this capability, or can be translated to it by the driver."""
    if found.capability is None or not found.compiled:
        return True
    if not any(name.startswith(("sm_", "compute_")) for name in found.compiled):
        return True  # ROCm names its architectures otherwise
    major, minor = found.capability
    for name in found.compiled:
        kind, _, digits = name.partition("_")
        number = digits.rstrip("af")
        had = int(number[:-1]), int(number[-1])
        if digits.endswith("a"):  # sm_90a: for this one architecture, translated or not
            fits = had == (major, minor)
        else:
            fits = had <= (major, minor) if kind == "compute" else had[0] == major and had[1] <= minor
        if fits:
            return True
    return False
