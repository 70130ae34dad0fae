"""What one comparison is about, and who may take part. Standard library alone: every environment can read it."""

import json
from dataclasses import asdict, dataclass
from typing import Literal

What = Literal["step", "input", "memory", "start"]

MODULES = {
    "resmom": "ours",
    "plain": "plain",
    "lightly": "lightly_",
    "lightly-train": "lightly_train_",
    "stable-pretraining": "stable_pretraining_",
    "solo-learn": "solo_learn",
    "moco-v3": "moco_v3",
}
"""Contender -> module of this package. A module has `PACKAGES`, `NOTES`, and the functions `step` and `images`."""

PEERS = ("lightly", "lightly-train", "stable-pretraining", "solo-learn", "moco-v3")
CHECKOUTS = ("solo-learn", "moco-v3")
"""Not on a package index: a path to their sources must be given."""

HELP = {
    "resmom": ("-m", "resmom", "--help"),
    "lightly": ("-c", "from lightly.cli.train_cli import entry; entry()", "--help"),
    "lightly-train": ("-c", "from lightly_train._cli import _cli_entrypoint; _cli_entrypoint()", "--help"),
    "stable-pretraining": ("-c", "from stable_pretraining.cli import app; app()", "--help"),
    "solo-learn": ("main_pretrain.py", "--help"),
    "moco-v3": ("main_moco.py", "--help"),
}
"""Arguments after `python` with which the command line of a contender prints its help."""


@dataclass(frozen=True)
class Case:
    """One comparison. A round is `steps` training steps, or `batches` batches of input.

    `side`: of a view, in pixels. `threads`: of one operation. `cores`: the process is bound to so many, and gets as
    many workers; 0 binds nothing. `keep_memory`: whether ours may keep freed memory, as its command line does. `data`:
    for input, an .npz file of arrays or a folder whose one subfolder holds the images. `source`: a checkout. `device`
    is torch's name of where steps are, `compile` what `resmom pretrain --compile` takes, for ours alone.
    """

    what: Literal["step", "images"]
    batch: int
    side: int
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1
    cores: int = 0
    batches: int = 1
    keep_memory: bool = True
    data: str = ""
    source: str = ""
    device: str = "cpu"
    steps: int = 1
    compile: Literal["no", "kernels", "graphs"] = "no"

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")

    @property
    def gpu(self) -> int:
        """The number of the GPU."""
        return int(self.device.partition(":")[2] or 0)

    def text(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> "Case":
        return Case(**json.loads(text))
