"""A method's queue of keys and the number of images of a run."""

from resmom.called import called
from resmom.config import Run
from resmom.data.errors import DataError
from resmom.data.source import Data
from resmom.methodconfig import queue_of
from resmom.recipes import RECIPES, base_of


def require_queue(run: Run, data: Data) -> None:
    """Raise DataError if the queue is longer than the data set, unless the run's recipe states that length."""
    if queue_of(run.method) > len(data.train) and not stale_keys(run, data):
        raise DataError(
            f"{called('method.queue')} is {queue_of(run.method)}, but {data.train.name} has {len(data.train)} images: "
            f"the queue would hold old keys of the very images that are compared with it; set {called('method.queue')} "
            f"to at most {len(data.train)}"
        )


def stale_keys(run: Run, data: Data) -> str:
    """A warning, where the queue is longer than the data set because the recipe states that length; else nothing."""
    queue, base = queue_of(run.method), base_of(run.recipe)
    if queue <= len(data.train) or base not in RECIPES or queue_of(RECIPES[base]().method) != queue:
        return ""
    return (
        f"the queue, {queue} keys, is longer than the {len(data.train)} images, as published with this recipe: it "
        "holds old keys of the very images that are compared with it"
    )
