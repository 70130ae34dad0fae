"""What Python users call to look at runs: where their time goes, all of them on one page, a comparison's table."""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from resmom.arguments import arguments_checked
from resmom.build import Own
from resmom.config import Run
from resmom.errors import UserError
from resmom.method import Method
from resmom.nets.backbones import Backbone
from resmom.recipes.automatic import automatic
from resmom.rundir import find_run
from resmom.runs.comparisons.arms import comparison as comparison_of
from resmom.runs.comparisons.base import base_named
from resmom.runs.comparisons.comparison import Comparison
from resmom.runs.comparisons.results import read_results
from resmom.runs.device import default_device
from resmom.runs.generators import generators_kept
from resmom.runs.images import images_opened
from resmom.runs.machine import Machine
from resmom.runs.own import written_data
from resmom.runs.profile import Profile
from resmom.runs.profile import profile as profile_run
from resmom.runs.ready import workers_for
from resmom.runs.reporting.report import report as write_report
from resmom.runs.result import Result
from resmom.runs.settling.facts import gather
from resmom.runs.wish import checked, saying


@arguments_checked("backbone")
@generators_kept()
def profile(
    data: object = None,
    run: Run | str | Path | Result | None = None,
    *,
    seconds: float = 40.0,
    change: Callable[[Run], Run] = lambda run: run,
    backbone: nn.Module | None = None,
    method: Callable[[Backbone], Method] | None = None,
    device: str = "auto",
    workers: int = -1,
    quiet: bool = False,
) -> Profile:
    """Train a throw-away copy of a run for so many seconds and find where the time goes; `print` the result for words.

    `data`, `run` and `change` as for `pretrain`; `run` may also be a result. A run folder or a result stands for its
    settings and images. `backbone`, `method`: a module and a function of your own, no names. Nothing is written.
    Raises UserError as `pretrain` does.
    """
    own = Own(backbone, method)
    place = default_device(device)
    base: Run | None
    if isinstance(run, Result):
        base, data = run.run, run.data if data is None else data
        own = own if backbone is not None or method is not None else run.own
        if data is None:
            data = written_data(find_run(run.path)[0].written(), "result")
    elif run is None or isinstance(run, Run):
        base = run
    else:
        named = base_named(str(run))
        base, data = named.run, named.data if data is None else data
    if data is None or (isinstance(data, str) and not data):
        raise UserError("the images are missing: give data, or a run that knows its own")
    opened = images_opened(data)
    base = checked(change)(automatic(gather(opened, place)).run if base is None else base)

    threads = workers_for(Machine(device=device, workers=workers), opened)
    return profile_run(base, opened, place, threads, seconds, own, saying(quiet))


@arguments_checked()
def report(
    runs: str | Path | Result | Sequence[str | Path | Result],
    out: str | Path = "report.html",
    images: bool = True,
    *,
    quiet: bool = True,
) -> Path:
    """One HTML page about one or more runs, or folders of `resmom detect` and `resmom segment`; returns its path.

    `runs`: their folders or results. `images` False leaves out every pixel of them. An earlier report at `out` is
    replaced. `quiet` False says on standard error what is being drawn. Raises RunDirError for what is no run,
    ReportError for an `out` that is something else than an earlier report.
    """
    several = [runs] if isinstance(runs, str | Path | Result) else runs
    folders = [run.path if isinstance(run, Result) else run for run in several]

    return write_report(folders, out, images, saying(quiet))


@arguments_checked()
def comparison(files: str | Path | Sequence[str | Path], against: str = "", *, together: bool = False) -> Comparison:
    """What the finished cells of comparisons say, as `resmom compare show` does; `print` it for the tables.

    `files`: folders of comparisons, or result files (cells.jsonl). `against`: the arm that the others are compared with
    in place of the first one, by name; or an option and a value, such as "residual.weight=0": each arm is compared with
    the one that has it and is the same otherwise. `together`: the intervals of a table hold together. Raises UserError
    for files that hold no cells, or cells that do not go into one table, and for an `against` that there is not.
    """
    several = [files] if isinstance(files, str | Path) else files
    return comparison_of(read_results([Path(file) for file in several]), against, together)
