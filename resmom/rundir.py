"""The run folder: names of what a run leaves on disk, and the lock. No torch.

RUN/run.json            the resolved configuration and the data, written once
RUN/environment.jsonl   one line per start: command, versions, commit, machine
RUN/metrics.jsonl       one line per measurement, `step` and `epoch` in each
RUN/start.safetensors   the backbone's weights before training
RUN/evaluations.jsonl   one line per result of `resmom evaluate`, with its protocol and environment
RUN/choice.json         which network `resmom evaluate --all` says to keep, and all that it was chosen among
RUN/probes/             linear layers of `resmom evaluate --linear-crop`, one per network, data and settings
RUN/gaps.jsonl          one line per checkpoint measured by `resmom gap`, likewise
RUN/unreadable.jsonl    images that could not be read, with the reason
RUN/export/             the backbone alone, student's and teacher's, for other tools, and a card that says what it is
RUN/detectron2/, onnx/  the same in these formats, where they were asked for
RUN/tensorboard/, wandb/  the metrics in the forms of these tools, where they were asked for
RUN/checkpoints/        last.pt and the kept ones, step-00007800.pt …
RUN/lock                held while a process works in the folder
"""

import errno
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resmom.called import called, verb
from resmom.errors import RunDirError
from resmom.jsonfiles import read_lines, read_object
from resmom.norun import CONFIG, no_run, run_of_checkpoint
from resmom.ondisk import lock

GIVEN = "given in Python: "
"""How run.json begins to name images that were given as open ones, and that no path leads back to."""


def given_again(written: Mapping[str, Any]) -> str:
    """The arguments by which what a run was given from Python is given again, by its run.json: "data=…, backbone=…".

    Empty where nothing was.
    """
    parts = ["data"] if str(written.get("data", "")).startswith(GIVEN) else []
    parts += ["test"] if parts and written.get("test") else []
    parts += [part for part in ("backbone", "method") if part in written.get("own", {})]
    return ", ".join(f"{part}=…" for part in parts)


@dataclass(frozen=True)
class RunDir:
    """A run folder. Nothing is touched until a method is called."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / CONFIG

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def environment(self) -> Path:
        return self.path / "environment.jsonl"

    @property
    def evaluations(self) -> Path:
        return self.path / "evaluations.jsonl"

    @property
    def choice(self) -> Path:
        return self.path / "choice.json"

    @property
    def probes(self) -> Path:
        return self.path / "probes"

    @property
    def gaps(self) -> Path:
        return self.path / "gaps.jsonl"

    @property
    def unreadable(self) -> Path:
        return self.path / "unreadable.jsonl"

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def export(self) -> Path:
        return self.path / "export"

    @property
    def start(self) -> Path:
        return self.path / "start.safetensors"

    def kept(self, step: int) -> Path:
        """The checkpoint kept after `step` steps."""
        return self.path / "checkpoints" / f"step-{step:08d}.pt"

    def all_kept(self) -> list[Path]:
        """The kept checkpoints, oldest first."""
        return sorted((self.path / "checkpoints").glob("step-*.pt"))

    def written(self) -> dict[str, Any]:
        """What run.json says, with `data` as the newest start has it that found the images at another place.

        Raises RunDirError where it is damaged.
        """
        found = read_object(self.config)
        if missing := [name for name in ("run", "data") if name not in found]:
            raise RunDirError(
                f"{self.config} is damaged or of another program: it has no '{missing[0]}'; put back a copy of it, or "
                "start a new run in another folder"
            )
        places = [line["data"] for line in read_lines(self.environment) if "data" in line]
        return found | {"data": places[-1]} if places else found

    def lost(self) -> str:
        """That the last checkpoint was there and is gone, in words; empty for a run that has it, or had none yet.

        One is written before the first step, so a run that kept another, or measured past the start, has had it.
        """
        if self.last.exists():
            return ""
        step = max((line.get("step", 0) for line in read_lines(self.metrics)), default=0)
        if not step and not self.all_kept():
            return ""
        return f"{self.last} is missing, though the run has " + (f"been at step {step}" if step else "kept others")

    def require_not_lost(self) -> None:
        """Raise RunDirError where the last checkpoint is gone: begun anew, the run would lose what is still there."""
        if words := self.lost():
            raise RunDirError(f"{words}; what helps: {way_back(self.all_kept(), self.last)}")

    @contextmanager
    def locked(self) -> Iterator[str]:
        """Hold the folder for this process. Raises RunDirError if another holds it; a killed holder's lock is gone.

        Gives why the disk has no locks, in the system's words, and is empty where it has.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as file:
            try:
                unlocked = lock(file)
            except BlockingIOError as error:
                raise RunDirError(
                    f"another process is working in {self.path}; wait for it, stop it, or use another folder"
                ) from error
            yield unlocked

    def held(self) -> tuple[bool, str]:
        """Whether a process works in the folder; and why that cannot be known, in the system's words, where it cannot.

        It is known by the lock, and the disk may have none, or the folder may be for reading alone.
        """
        if not (self.path / "lock").exists():  # a copy, say; asking would make one
            return False, ""
        try:
            with self.locked() as unlocked:
                return False, unlocked
        except RunDirError:
            return True, ""
        except OSError as error:
            return False, error.strerror or str(error)

    @contextmanager
    def worked_in(self) -> Iterator[None]:
        """As `locked`; where the disk has no locks the work goes on, and a sentence on standard error says so.

        Alone, as nearly always, a process harms nothing there, and to refuse would leave such disks without any run.
        That nobody resumes the same run twice at once is then the user's to see to.
        """
        with self.locked() as unlocked:
            if unlocked:
                print(
                    f"{self.path} cannot be locked ({unlocked}): see to it that no other process works in it meanwhile",
                    file=sys.stderr,
                )
            yield

    def continued_by(self) -> str:
        """The command that continues this run, or the call in Python where a part of it was given there."""
        try:
            written = read_object(self.config)
        except (OSError, RunDirError):
            written = {}
        again = given_again(written)
        return f"`resmom.resume({str(self.path)!r}, {again})` in Python" if again else verb("resume", self.path)

    def refuse_if_used(self) -> None:
        """Raise RunDirError if the folder already holds something, or cannot be written in."""
        if self.config.exists():
            raise RunDirError(
                f"{self.path} already holds a run; continue it with {self.continued_by()}, or give another folder "
                f"({called('out')})"
            )
        another = f"another folder ({called('out')})"
        if self.path.exists() and not self.path.is_dir():
            raise RunDirError(f"{self.path} is a file; give {another} that does not exist yet or is empty")
        above = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise RunDirError(f"{above} is a file, so there can be no folder below it; give {another}")
        if self.path.is_dir() and any(not _leftover(entry) for entry in self.path.iterdir()):
            raise RunDirError(f"{self.path} is not empty and not a run; give {another}, or an empty one")
        self._require_writable(above)

    def _require_writable(self, above: Path) -> None:
        """Raise RunDirError if the folder cannot be made or written in; a trial tells, which leaves nothing behind."""
        try:
            # A folder: what permissions alone say does not hold for root, nor for disks that are read only.
            Path(tempfile.mkdtemp(".part", dir=self.path if self.path.is_dir() else above)).rmdir()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return  # how much is needed, and how much there is, is told where the run's size is known
            raise RunDirError(
                f"{self.path} cannot be written: the system says '{error.strerror}'; give another folder "
                f"({called('out')})"
            ) from error


def _leftover(entry: Path) -> bool:
    """What a start that was killed at once may leave, and another start may take over."""
    return entry.name == "lock" or entry.name.endswith(".part")


def way_back(kept: Sequence[Path | str], last: Path | str) -> str:
    """What to do about a last checkpoint that is gone or damaged, beside the kept ones, oldest first."""
    if not kept:
        return "a copy of the folder from elsewhere; without one, start anew in another folder"
    copy = f"cp {shlex.quote(str(kept[-1]))} {shlex.quote(str(last))}"
    return f"{copy}, then {verb('resume')}: the run goes on from that checkpoint"


def run_of(path: Path, needs: str = "") -> RunDir:
    """The run folder that a RUN argument names; a checkpoint stands for its folder.

    Raises RunDirError for no run; `needs` as for `no_run`.
    """
    run = run_of_checkpoint(path) if path.is_file() else path
    if run is None or not (run / CONFIG).exists():
        raise RunDirError(no_run(path, needs))
    return RunDir(run)


def find_run(path: Path, needs: str = "") -> tuple[RunDir, Path]:
    """The run folder and the checkpoint that a RUN argument names: a run folder (its last checkpoint) or a checkpoint.

    Raises RunDirError with what is missing; `needs` as for `no_run`.
    """
    run = run_of(path, needs)
    if path.is_file():
        return run, path
    if not run.last.exists():
        run.require_not_lost()
        raise RunDirError(f"{path} has no checkpoint yet; the run was stopped before its first one")
    return run, run.last
