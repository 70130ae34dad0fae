"""What a run will cost, in numbers and in words, from a trial of some of its steps."""

from dataclasses import dataclass
from pathlib import Path

from resmom import dist
from resmom.config import Run
from resmom.data.order import steps_per_epoch
from resmom.data.source import Data
from resmom.report.numbers import small
from resmom.runs.settling.budget import disk_of, kept_of, measuring_of, require_disk, words_of_time
from resmom.runs.settling.memory import TRANSIENT, share_of
from resmom.runs.settling.trial import Trial
from resmom.train.plan import length


@dataclass(frozen=True)
class Estimate:
    """What a run will cost on this machine, as busy as it is now."""

    seconds: float
    """Training and measuring together."""
    step_seconds: float
    disk_bytes: int
    """The folder at the end."""
    memory_bytes: int
    """What a step holds at its most, weights and the optimiser's state with it; in each of several processes."""
    kept_checkpoints: int
    tried_images: int = 0
    """See `Trial.tried_images`."""
    cut: str = ""
    """The end of a sentence where the run became shorter than it was planned."""
    crowd: str = ""
    """See `Trial.crowd`."""

    @property
    def words(self) -> str:
        part = f", judged by {small(self.tried_images, 'image')} of it" if self.tried_images else ""
        return (
            f"about {words_of_time(self.seconds)} ({self.step_seconds:.2g} s a step on this machine now{part}), "
            f"{self.disk_bytes / 2**20:.0f} MiB of disk with {small(self.kept_checkpoints, 'kept checkpoint')}, "
            f"{self.memory_bytes / 2**20:.0f} MiB of memory for a step{self.cut}"
        )


def estimate(run: Run, cost: Trial, data: Data, out: Path | None, cut: str = "") -> Estimate:
    """The cost of a whole run. Raises RunDirError where the disk of a folder `out` does not have room for it."""
    per_epoch = steps_per_epoch(len(data.train), run.train.batch)
    steps = length(run.train, per_epoch)
    disk = disk_of(run, cost, steps, per_epoch)
    if out is not None and dist.rank() == 0:  # the others write nothing
        require_disk(out, disk + cost.checkpoint_bytes)
    return Estimate(
        seconds=steps * cost.step_seconds + measuring_of(run, cost, steps, per_epoch) + 2 * cost.measure_seconds,
        step_seconds=cost.step_seconds,
        disk_bytes=round(disk),
        memory_bytes=round(cost.kept.of(held(run)) * TRANSIENT + cost.weight_bytes),
        kept_checkpoints=kept_of(run, steps, per_epoch),
        tried_images=cost.tried_images,
        cut=cut,
        crowd=cost.crowd,
    )


def held(run: Run) -> int:
    """Images whose graph a step holds at once, in each process."""
    share = share_of(run.train.batch)
    return min(share, run.train.micro_batch or share)
