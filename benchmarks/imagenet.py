"""The ImageNet recipes from end to end on a folder of ImageNet's layout, at full resolution, and what each would cost.

    python -m benchmarks.imagenet --data IMAGENET --out DIR [--only NAME ...] [--steps 10] [--batch 8] [--images 64]

Of each recipe: `resmom pretrain`, stopped by a signal halfway, `resume`, `evaluate`, `export`, each as a user calls it.
Backbone, heads, views, optimiser and precision are the recipe's; batch, steps and queue are not, and the images are the
first of each class, as many as --images. What is told from it is seconds per step, and from these the recipe's whole
cost on this machine: ImageNet's 1,281,167 images x epochs / (images per second). A step of a small batch costs more per
image than one of the recipe's, since optimiser and teacher move as often for fewer images; evaluation is not in it.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from resmom.config import Run
from resmom.jsonfiles import append_line, read_lines
from resmom.methodconfig import groups_of, queue_of
from resmom.recipes import RECIPES, TWIN, names, recipe
from resmom.rundir import RunDir
from resmom.runs.environment import environment, shareable

IMAGES = 1_281_167
NAMES = [name for name in RECIPES if "_imagenet_" in name]
TWINS = [name for name in names() if "_imagenet_" in name and name.endswith(TWIN)]
WARM_UP = 2
"""Steps that are not counted: memory is taken, kernels are chosen."""


class Failed(Exception):
    """A command that did not end as it should; the message holds its last words."""


@dataclass(frozen=True)
class Cost:
    """What a recipe was measured to take, and what it would."""

    recipe: str
    batch: int
    seconds_per_step: float
    epochs: int

    @property
    def images_per_second(self) -> float:
        return self.batch / self.seconds_per_step

    @property
    def hours(self) -> float:
        """Of the whole recipe on ImageNet."""
        return IMAGES * self.epochs / self.images_per_second / 3600


def few(data: Path, images: int, out: Path) -> Path:
    """A folder of links to the first images of each class of `data`, as many of train/ and of val/ as asked for."""
    for split in ("train", "val"):
        classes = sorted(folder for folder in (data / split).iterdir() if folder.is_dir())
        each = -(-images // len(classes))
        for folder in classes[:images]:
            there = out / split / folder.name
            there.mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.iterdir())[:each]:
                (there / file.name).unlink(missing_ok=True)
                (there / file.name).symlink_to(file.resolve())
    return out


def options(run: Run, steps: int, batch: int, images: int, precision: str | None) -> list[str]:
    """What is changed of a recipe so that a machine without a GPU does some steps of it."""
    changed = ["--train.steps", steps, "--train.warmup-steps", 1, "--train.batch", batch, "--log.line-steps", 1]
    changed += ["--log.knn-epochs", 0]
    if queue_of(run.method):
        changed += ["--method.queue", min(queue_of(run.method), images)]
    if groups_of(run.method):
        changed += ["--method.shuffle-bn", batch // 2]
    if precision is not None:
        changed += ["--train.precision", precision]
    return [str(part) for part in changed]


def seconds_per_step(lines: Sequence[dict[str, float]]) -> float:
    """Median over the steps after the first ones, from the lines of training of one process."""
    ends = [line["elapsed_seconds"] for line in lines[WARM_UP - 1 :]]
    return statistics.median(after - before for before, after in pairwise(ends))


def resmom(*arguments: object, stop: RunDir | None = None, at: int = 0) -> None:
    """A command, which has to succeed; with `stop`, a run that gets a signal once it is at a step, and has to save."""
    process = subprocess.Popen(
        [sys.executable, "-m", "resmom", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while stop is not None and process.poll() is None:
        if stop.metrics.exists() and any(line["step"] >= at for line in trained(stop)):
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.2)
    words, _ = process.communicate()
    wanted = 0 if stop is None else 128 + signal.SIGTERM
    if process.returncode != wanted:
        raise Failed(f"resmom {arguments[0]} ended with {process.returncode}, not {wanted}:\n{words[-2000:]}")


def trained(folder: RunDir) -> list[dict[str, float]]:
    return [line for line in read_lines(folder.metrics) if line["kind"] == "train"]


def whole(name: str, data: Path, out: Path, asked: argparse.Namespace) -> Cost:
    """The recipe from end to end. Raises Failed where a command ends otherwise than it should."""
    run, folder = recipe(name), RunDir(out / name)
    changed = options(run, asked.steps, asked.batch, asked.images, asked.precision)
    middle = asked.steps // 2
    resmom("pretrain", name, "--data", data, "--out", folder.path, *changed, stop=folder, at=middle)
    first = trained(folder)
    resmom("resume", folder.path)
    if [line["step"] for line in trained(folder)] != list(range(1, asked.steps + 1)):
        raise Failed(f"{name}: the lines of the resumed run are not one for each of {asked.steps} steps")
    resmom("evaluate", folder.path, "--json")
    resmom("export", folder.path)
    if not list((folder.path / "export").glob("*.safetensors")):
        raise Failed(f"{name}: nothing was exported")
    return Cost(name, asked.batch, seconds_per_step(first), run.train.epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train/WNID/ and val/WNID/")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the runs and for costs.jsonl")
    parser.add_argument("--only", nargs="+", choices=NAMES + TWINS, default=NAMES, metavar="NAME")
    parser.add_argument("--steps", type=int, default=10, help="at least 8, half of which are timed")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--images", type=int, default=64, help="of each split; the longest queue, too")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], help="in place of the recipe's")
    asked = parser.parse_args()
    if asked.steps < 8 or asked.images < asked.batch:
        parser.error("--steps must be at least 8, and --images at least --batch")
    data = few(asked.data, asked.images, asked.out / "images")
    for name in asked.only:
        cost = whole(name, data, asked.out, asked)
        line = {"recipe": name, "batch": cost.batch, "seconds_per_step": cost.seconds_per_step, "epochs": cost.epochs}
        append_line(asked.out / "costs.jsonl", {**line, "hours": cost.hours, "environment": shareable(environment())})
        print(
            f"{name}: pretrain, resume, evaluate, export done; {cost.seconds_per_step:.2f} s a step of {cost.batch}, "
            f"{cost.images_per_second:.2f} images/s; {cost.epochs} epochs of ImageNet here: {cost.hours:,.0f} hours "
            f"({cost.hours / 24:,.0f} days)",
            flush=True,
        )


if __name__ == "__main__":
    main()
