"""Whether the package of a logger is here."""

from resmom.called import setting
from resmom.errors import UserError
from resmom.extras import importable, installed, lacking
from resmom.runs.machine import Logger


def require_package(name: Logger, field: str = "log_to") -> None:
    """Raise UserError where the package of a logger is not here. `field`: by which it was asked for."""
    if name == "none":
        return
    package = name.partition("-")[0]
    # wandb is only looked for: importing it takes seconds, and is left to the process that works with it.
    if not (installed if package == "wandb" else importable)(package):
        raise UserError(lacking(f"{setting(field, name)} needs", package))
