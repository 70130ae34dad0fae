"""Which probes are asked, in which order, and what a probe that gives no answer means."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from resmom.runs.doctor.apart import Apart, Failure
from resmom.runs.doctor.finding import Answer, Finding, State, sentence
from resmom.runs.doctor.system import system

ANSWERING = "resmom.runs.doctor.probes"
"""The module that answers."""


@dataclass(frozen=True)
class Question:
    """A probe with its arguments, under the name that its findings have.

    `needs`: names of questions without whose answer this one makes no sense. `remedy`: what to do if it gives no
    answer. `slow`: why it may take long on a machine where nothing is wrong; being late is then worth a note only.
    """

    name: str
    probe: str
    remedy: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    seconds: float = 60.0
    slow: str = ""


def questions(run: Path | None = None, out: Path | None = None, data: str = "", threads: int = 0) -> list[Question]:
    """What is asked of this machine, and of the run, the place for runs and the images that were named.

    `threads`: those of one operation, which hold for all that is asked after them; 0 for torch's choice.
    """
    report = "report it, with what `resmom doctor --json` prints"
    anew = "install it anew: pip install --force-reinstall"
    torch = f"{anew} torch torchvision, a build for this machine; PyTorch's page of installation tells the command"
    made = (
        "set NUMBA_CACHE_DIR to a folder that you may write to, if it is about the cache; else install it anew: "
        "pip install --force-reinstall numba"
    )
    reads = "it reads the header of every image, on some disks for minutes"
    asked = [
        Question("packages", "installed", report),
        _imported("numpy", f"{anew} numpy"),
        _imported("torch", torch),
        _imported("torchvision", torch, "torch"),
        _imported("timm", f"{anew} timm", "torchvision"),
        _imported("pillow", f"{anew} pillow"),
        _imported("scikit-learn", f"{anew} scikit-learn scipy", "numpy"),
        Question("simplejpeg", "jpeg", f"{anew} simplejpeg, or uninstall it", needs=("numpy", "pillow")),
        Question("numba", "compiled", made, needs=("numpy", "torch"), seconds=180.0),
        Question("cores", "cores", report),
        Question("memory", "memory", report),
        Question("threads", "threads", report, (str(threads),), ("torch",)),
        Question("devices", "devices", "update the GPU's driver, or start the machine anew", needs=("torch",)),
    ]
    usable = ("numpy", "torch", "torchvision", "pillow")
    if out is not None:
        away = "see whether its disk is there and answers, or give another --out"
        asked.append(Question("out", "place", away, (str(out),)))
    if data:
        look = f"look closer: resmom data check {data}"
        asked.append(Question("data", "images", look, (data,), usable, slow=reads))
    if run is not None:
        look = "start it anew, or ask where it was made"
        asked.append(Question("run", "folder", look, (str(run),), usable))
        look = "see whether the images are where the run has them from"
        asked.append(Question("run's data", "images_of", look, (str(run),), (*usable, "run"), slow=reads))
    return asked


def examine(asked: list[Question], answering: str = ANSWERING) -> Iterator[tuple[str, Answer]]:
    """Ask, and yield the answer to each question with its name; after `devices` also that of every device.

    What raises, crashes or hangs becomes a finding. What needs it is not asked, and a last answer says so. What needs a
    thing that cannot be used, as was answered, is left out. On a system that resmom does not run on, that is all.
    """
    here = system()
    yield "system", here
    if any(finding.state == "problem" for finding in here.findings):
        return
    waiting, without, left = deque(asked), set[str](), list[str]()
    with Apart(answering) as apart:
        while waiting:
            question = waiting.popleft()
            if without & set(question.needs):
                without.add(question.name)
                left.append(question.name)
                continue
            told = apart.ask(question.probe, question.arguments, question.seconds)
            if isinstance(told, Failure):
                without.add(question.name)
                yield question.name, Answer((_failed(question, told),), {"failed": told.words})
                continue
            yield question.name, told
            if told.facts.get("refused") or told.facts.get("damaged"):
                waiting = deque(other for other in waiting if question.name not in other.needs)
            if question.name == "devices":
                waiting.extendleft(_device(name) for name in reversed(told.facts["devices"]))
    if left:
        words = f"not looked at, because what they need does not work: {', '.join(left)}."
        yield "rest", Answer((Finding("rest", "note", words, "put that right, then run resmom doctor again"),), {})


def _imported(name: str, remedy: str, *needs: str) -> Question:
    return Question(name, "imported", remedy, (name,), needs, seconds=180.0)


def _device(name: str) -> Question:
    remedy = "update torch and the driver, end what else uses the device; until then use another --device"
    return Question(name, "device", remedy, (name,), ("numpy", "torch", "torchvision"), seconds=120.0)


def _failed(question: Question, told: Failure) -> Finding:
    state: State = "note" if told.late and question.slow else "problem"
    why = f"; {question.slow}" if told.late and question.slow else ""
    return Finding(question.name, state, sentence(f"{told.words}{why}"), question.remedy)
