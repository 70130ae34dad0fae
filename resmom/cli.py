"""The command line: parse the verb, call one command. Torch is not imported before a command needs it."""

import errno
import importlib
import os
import sys
from difflib import get_close_matches
from io import TextIOWrapper

from resmom import torchrun
from resmom.called import called_by
from resmom.errors import UserError
from resmom.version import VERSION

VERBS = {
    "pretrain": "pretrain an encoder on unlabelled images, with a recipe or without",
    "resume": "continue a run that was stopped",
    "evaluate": "kNN and linear probe of a run's student and teacher, or of other weights",
    "detect": "a run's backbones as object detectors: train, resume, evaluate",
    "segment": "a run's backbones at naming every pixel: train, resume, evaluate",
    "predict": "what was trained, on images without labels: boxes, masks, classes",
    "gap": "the gap between student and teacher of a run",
    "embed": "images to vectors, as arrays in one file",
    "compare": "arms of a grid over several seeds, and which differences are resolved",
    "export": "a run's backbones as files for torchvision, timm and ONNX, with a model card",
    "report": "one HTML page about one or more runs",
    "data": "check the images of a data set, or pack them into few files",
    "profile": "where the time of a run goes, and what to do about it",
    "recipes": "list the recipes, or show one",
    "doctor": "is this machine ready, and if not, what to do?",
    "demo": "the whole story on an embedded data set, in minutes",
}

OTHERWISE = {
    **dict.fromkeys(("train", "pretraining", "run", "fit", "ssl"), "pretrain"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("eval", "test", "validate", "benchmark", "knn"), "evaluate"),
    **dict.fromkeys(("linear", "linprobe", "linear-probe", "probe"), "evaluate RUN --protocols linear"),
    **dict.fromkeys(("finetune", "fine-tune"), "evaluate RUN --finetune"),
    **dict.fromkeys(("features", "extract", "encode", "embeddings"), "embed"),
    "convert": "export",
    "infer": "predict",
    "check": "data check",
    "pack": "data pack",
    "sweep": "compare",
    "version": "--version",
    "help": "--help",
}
"""What may be meant by verbs that other tools have, or that are parts of one of ours."""

TOGETHER = ("pretrain", "resume")
"""What several processes that torchrun has started share their work of."""

REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENAMETOOLONG}
    | {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
)
"""What a system answers to reading or writing where one may not, where there is no room, or where a file stands for a
folder or a folder for a file."""

HELP = """usage: resmom VERB ...

Pretrain image encoders on unlabelled images with momentum teachers and residual momentum.

{verbs}

resmom VERB --help tells the options of a verb; resmom --version the version.
"""


def main() -> None:
    """Run the command named by the arguments; exit with its status (2 for a mistake in the call)."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
        print(HELP.format(verbs=verbs), end="")
        sys.exit(0)
    if arguments[0] == "--version":
        print(f"resmom {VERSION}")
        sys.exit(0)
    if isinstance(sys.stdout, TextIOWrapper):
        # As standard error has it: names of files that are no text are printed, and each line is written at once, so
        # that lines of both keep their order in one file.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    verb = arguments[0]
    if verb not in VERBS:
        near = OTHERWISE.get(verb) or next(iter(get_close_matches(verb, VERBS, n=1)), None)
        hint = f" Did you mean '{near}'?" if near else ""
        print(f"resmom: there is no verb '{verb}'.{hint} Verbs: {', '.join(VERBS)}.", file=sys.stderr)
        sys.exit(2)
    if torchrun.processes() > 1 and verb not in TOGETHER:
        if torchrun.process() == 0:
            print(
                f"resmom {verb}: it works in one process, and torchrun has started {torchrun.processes()}; start it "
                f"without torchrun (only {' and '.join(TOGETHER)} share their work among processes)",
                file=sys.stderr,
            )
        sys.exit(2)
    # Before torch is there, which reads it once. Threads that wait for each other by spinning make a small network ten
    # times slower and more as soon as another program wants a core (docs/log.md); sleeping costs a tenth or so alone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with called_by("options"):
            sys.exit(_run(verb, arguments[1:]))
    except UserError as error:
        print(f"resmom {verb}{_who()}: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        print(f"resmom {verb}{_who()}: {_refused(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        # Outside of training, which saves and says how to go on; or twice, and not waited for.
        words = str(stop) or "interrupted; what is written is whole, the rest is not done"
        print(f"resmom {verb}: {words}", file=sys.stderr)
        sys.exit(130)


def _run(verb: str, arguments: list[str]) -> int:
    """Do it. The forms of a call are told without the command, which may import torch first."""
    if arguments[:1] in (["-h"], ["--help"]):
        usages: dict[str, str] = importlib.import_module("resmom.commands.usages").USAGES
        if verb in usages:
            print(usages[verb], end="")
            return 0
    status: int = importlib.import_module(f"resmom.commands.{verb}").main(arguments)
    return status


def _who() -> str:
    """Which of several processes speaks, where it is not the first: what stops all of them is said by each."""
    return f" (process {torchrun.process()} of {torchrun.processes()}, counted from 0)" if torchrun.process() else ""


def _refused(error: OSError) -> str:
    """What the system refused, in a sentence."""
    where = f"{error.filename}: " if error.filename else ""
    reason = (error.strerror or str(error)).lower()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}{reason}; make room, or choose a place on another disk"
    if error.errno == errno.ENAMETOOLONG:
        return f"{where}{reason}; choose a shorter one"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
        return f"{where}{reason}; choose another place"
    return f"{where}{reason}; choose a place that you may read and write, or have its permissions changed"
