"""A module called wandb that writes down how it is called, where a variable says so."""

from pathlib import Path

SOURCE = """
import json, os, sys, time

def _note(*what):
    with open(os.environ["WANDB_CALLS"], "a") as file:
        file.write(json.dumps(what) + "\\n")

class Run:
    step = int(os.environ.get("WANDB_HAS", "0"))

    def define_metric(self, *names, **more):
        _note("define", names, more)

    def log(self, values, step):
        if os.environ.get("WANDB_DIES_AT") == str(step):
            raise ValueError("the server said no")
        _note("log", values, step)

    def finish(self, exit_code=None):
        time.sleep(float(os.environ.get("WANDB_SLOW", "0")))
        _note("finish", exit_code)

def init(**asked):
    told = {name: value for name, value in os.environ.items() if name.startswith("WANDB_") and name != "WANDB_CALLS"}
    _note("init", asked, told, sys.stdin.isatty())
    if os.environ.get("WANDB_REFUSES"):
        raise RuntimeError("no key is configured")
    return Run()
"""


def write_wandb(folder: Path) -> Path:
    """Put it into `folder`, which then belongs before all others on the path of a process."""
    folder.mkdir(exist_ok=True)
    (folder / "wandb.py").write_text(SOURCE)
    return folder
