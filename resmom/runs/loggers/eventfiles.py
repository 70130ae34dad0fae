"""Lines of metrics as an event file that TensorBoard reads."""

import os
import time
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from datetime import datetime
from pathlib import Path

from resmom.called import called
from resmom.errors import RunDirError
from resmom.export.record import Trained
from resmom.jsonfiles import read_lines
from resmom.rundir import RunDir, run_of
from resmom.runs.loggers.lines import Line, numbers
from resmom.runs.loggers.packages import require_package

FOLDER = "tensorboard"
"""In the run folder. TensorBoard shows a run under its folder's path: `runs/a/tensorboard` with `--logdir runs`."""
OURS = "events.out.tfevents.*.resmom"
"""The names of our files, of which one at a time says something. TensorBoard goes by the word `tfevents`."""


class EventFile:
    """One file with all numbers of a run, made anew from the lines there are and then added to.

    It begins by telling TensorBoard to forget what it has read of this run (a session that starts at step 0), so that
    one which is open all the while shows no point twice. Points have the time of training, counted from the first start
    of the run: what the file says follows from the lines alone, and its axis "relative" has no pauses.
    """

    def __init__(self, folder: Path, lines: Iterable[Line], began: float) -> None:
        """`began`: seconds since 1970 at the first start. Raises OSError, ImportError or what the package raises."""
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter  # imports no TensorFlow, as others there do

        self._began, self._trained = began, Trained()
        folder.mkdir(parents=True, exist_ok=True)
        earlier = sorted(folder.glob(OURS))
        # TensorBoard goes on to the file with the next name, so this one must come after the one it may be reading.
        newest = max((int(path.name.split(".")[3]) for path in earlier), default=0)
        self.path = folder / OURS.replace("*", f"{max(int(time.time()), newest + 1):010d}")
        with ExitStack() as until_whole:
            self._file = until_whole.enter_context(self.path.open("xb"))
            self._records = RecordWriter(self._file)
            self._write(began, file_version="brain.Event:2")
            self._write(began, step=0, session_log=SessionLog(status=SessionLog.START))
            for line in lines:
                self._add(line)
            self._file.flush()
            until_whole.pop_all()
        for path in earlier[:-1]:
            path.unlink()
        for path in earlier[-1:]:  # a TensorBoard that reads it goes on to the next one only if it is still there
            os.truncate(path, 0)

    @classmethod
    def of(cls, run: RunDir, folder: Path | None = None) -> "EventFile":
        """With the lines of a run folder; in its own `tensorboard` by default."""
        starts = read_lines(run.environment)
        began = datetime.fromisoformat(starts[0]["time"]).timestamp() if starts else run.config.stat().st_mtime
        return cls(folder or run.path / FOLDER, read_lines(run.metrics), began)

    def take(self, line: Line) -> None:
        self._add(line)
        self._file.flush()  # whoever watches shall not wait, and a kill leaves whole records

    def close(self) -> None:
        self._file.close()

    def _add(self, line: Line) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        seconds = self._trained.at(line)
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers(line).items()]
        self._write(self._began + seconds, step=line["step"], summary=Summary(value=values))

    def _write(self, seconds: float, **what: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=seconds, **what).SerializeToString())


def export_events(path: Path, out: Path | None = None) -> Path:
    """The event file of a run folder as it is now, in the place of an earlier one in `out`; returns it.

    Raises RunDirError for what is no run folder, and where a process is at work in it that may be writing that file;
    UserError where TensorBoard's package is not here.
    """
    require_package("tensorboard", "to")
    run = run_of(path, "measurements are those of a run")
    if out is not None and out.exists() and not out.is_dir():
        raise RunDirError(f"{out} is a file; {called('out')} must be a folder")
    with run.locked() if out is None else nullcontext():
        file = EventFile.of(run, out)
        file.close()
    return file.path
