"""What torchrun announces to the processes that it starts, in the environment. No torch."""

import os


def told() -> bool:
    """Whether torchrun, or whoever sets the same variables, has started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def processes() -> int:
    """How many it has started together; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if told() else 1


def process() -> int:
    """Which of them this is, counted from 0; 0 without it."""
    return int(os.environ["RANK"]) if told() else 0


def neighbours() -> int:
    """How many of them are on this machine and share its cores, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if told() else 1
