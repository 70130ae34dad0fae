"""What other tools have an option or a value for, or another command of ours, and how it is told here."""

from collections.abc import Collection

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
        **dict.fromkeys(("--optimizer", "--optimiser", "--opt", "--optim"), _OPTIMISER),
    },
    "--protocols": {
        **dict.fromkeys(("--linear-probe", "--linear-eval", "--probe"), _PROBES),
        **dict.fromkeys(("--label-fraction", "--labels-fraction", "--fraction", "--label-share"), _SHARE),
        **dict.fromkeys(("--shots", "--few-shot", "--k-shot", "--n-shot"), _SHOTS),
        **dict.fromkeys(("--teacher", "--student", "--use-teacher"), _WHICH),
        "--checkpoint": "; RUN may be one of its checkpoints, as in RUN/checkpoints/last.pt",
    },
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
    **{("--protocols", name): f"; --{name} measures that" for name in ("finetune", "low-shot", "sweep", "linear-crop")},
    **dict.fromkeys((("--to", "timm"), ("--to", "torchvision")), _LOADED),
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
