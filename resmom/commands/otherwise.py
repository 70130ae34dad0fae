"""What other tools have an option or a value for, or another command of ours, and how it is told here."""

from collections.abc import Collection
from pathlib import Path

from resmom.norun import is_images
from resmom.runs.measuring.asked import OTHERS

_FIRST = "; a recipe is named by the first word after the command (`resmom recipes` lists them)"
_LOG = "; --log-to wandb, wandb-online or tensorboard writes the measurements for other tools"
_SEVERAL = "; --device names one GPU, and `torchrun --nproc-per-node N -m resmom pretrain ...` trains on several"
_PRECISION = "; --train.precision is fp32, bf16 or fp16"
_OPTIMISER = "; the optimiser comes with the recipe, or is derived, and --optim.lr and the like are its settings"
_NAME = "; a run is called by its folder, --out"
_VIEWS = "; the number of views is that of the recipe"
_PROBES = "; --protocols linear is the linear probe, and --linear-crop the one on random crops"
_SHARE = "; --labels 0.01 learns from a hundredth of every class's labels"
_SHOTS = "; --low-shot 1,5 learns from so many images per class"
_WHICH = "; --network student or teacher measures one of the two"
_CHECKPOINTS = ("--checkpoint", "--checkpoint-path", "--ckpt", "--ckpt-path", "--step")
_CHECKPOINT = "; RUN may be one of its checkpoints, as in RUN/checkpoints/last.pt"
_TEST = "; images to test on are a test/ or val/ folder beside train/ in --data, or a share: --data PLACE@held-out=0.1"
_TESTED = ("--test", "--val", "--test-data", "--val-data", "--test-dir", "--val-dir", "--eval-data", "--valid")
_TERM = "; --residual.weight 1 is with the residual term, 0 without"
_SHOW = "; it is an option of `resmom compare show DIR`"

OTHERWISE: dict[str, dict[str, str]] = {
    "--train.batch": {
        "--recipe": _FIRST,
        "--config": _FIRST,
        "--cfg": _FIRST,
        "--resume": "; a run goes on with `resmom resume DIR`",
        **dict.fromkeys(("--wandb", "--use-wandb", "--wandb-project", "--tensorboard", "--logger"), _LOG),
        **dict.fromkeys(("--gpus", "--num-gpus", "--ngpus", "--nproc-per-node", "--world-size"), _SEVERAL),
        **dict.fromkeys(("--amp", "--use-amp", "--fp16", "--use-fp16", "--bf16", "--mixed-precision"), _PRECISION),
        **dict.fromkeys(("--name", "--run-name", "--exp-name", "--project"), _NAME),
        **dict.fromkeys(("--local-crops-number", "--num-crops", "--num-small-crops"), _VIEWS),
        **dict.fromkeys(("--optimizer", "--optimiser", "--opt", "--optim", "--optim.kind"), _OPTIMISER),
        **dict.fromkeys(("--residual", "--no-residual", "--use-residual"), _TERM),
        **dict.fromkeys(_TESTED, _TEST),
    },
    "--protocols": {
        **dict.fromkeys(("--linear-probe", "--linear-eval", "--probe", "--linear"), _PROBES),
        **{f"--{name}": f"; --protocols {name} measures by it" for name in ("knn", "online")},
        **dict.fromkeys(_TESTED, _TEST),
        **dict.fromkeys(("--label-fraction", "--labels-fraction", "--fraction", "--label-share"), _SHARE),
        **dict.fromkeys(("--shots", "--few-shot", "--k-shot", "--n-shot"), _SHOTS),
        **dict.fromkeys(("--teacher", "--student", "--use-teacher"), _WHICH),
    },
    "--stem": dict.fromkeys(_CHECKPOINTS, _CHECKPOINT),
    "--accuracy": {
        **dict.fromkeys(_CHECKPOINTS, _CHECKPOINT),
        "--out": "; the table is printed, and its numbers are kept in RUN/gaps.jsonl",
    },
    "--watch": {"--format": "; a page is HTML, which a browser prints or saves in other formats"},
    "--site": {"--format": "; vectors are written as arrays in an .npz file, which NumPy reads"},
    "--line-steps": {"--epochs": "; --steps is the length of a training"},
    "--vary": {
        **dict.fromkeys(("--against", "--format", "--together"), _SHOW),
        **dict.fromkeys(("--arms", "--grid"), "; a grid file (.json) in place of the recipe has arms of its own"),
    },
    "--together": {
        **{f"--{form}": f"; did you mean --format {form}?" for form in ("latex", "markdown", "csv")},
        **dict.fromkeys(("--out", "--output"), "; the table is printed, and a shell puts it into a file: ... > FILE"),
    },
}
"""By an option that only some commands have: the ends of sentences about options that they have not."""

_LOADED = "; timm and torchvision load the .safetensors that are written by default"
VALUES: dict[tuple[str, str], str] = {
    **{("--protocols", name.replace("_", "-")): f"; --{name.replace('_', '-')} measures that" for name in OTHERS},
    **{("--to", name): _LOADED for name in ("timm", "torchvision", "torch", "pytorch", "pth", "pt", "state-dict")},
    **{("--to", name): "; did you mean tensorboard?" for name in ("tb", "events")},
    ("--to", "d2"): "; did you mean detectron2?",
    **{("--to", name): "; did you mean onnx?" for name in ("ort", "onnxruntime", "torchscript")},
    **{("--network", name): "; did you mean teacher?" for name in ("ema", "momentum", "target", "key")},
    **{("--network", name): "; did you mean student?" for name in ("online", "query")},
    ("--format", "tex"): "; did you mean latex?",
    ("--format", "md"): "; did you mean markdown?",
}
"""The ends of sentences about values that an option has not."""


def otherwise(option: str, known: Collection[str]) -> str:
    """How a command with these options is told what is asked for, as the end of a sentence; empty where nobody knows.

    `option` as it was typed.
    """
    plain = option.replace("_", "-")
    return next((words[plain] for one, words in OTHERWISE.items() if one in known and plain in words), "")


def another(option: str, value: str) -> str:
    """Where a value that an option has not is to be had, as the end of a sentence; empty where nobody knows."""
    return VALUES.get((option, value.replace("_", "-")), "")


def images(word: str, known: Collection[str]) -> str:
    """How a word that is images is named to a command with these options, as the end of a sentence."""
    return f"; images are named with --data {word}" if "--data" in known and is_images(Path(word)) else ""
