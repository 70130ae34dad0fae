"""As `record.py`, for the settings on Imagenette: two losses of lightly, and the LARS that it takes for VICReg.

    python -m tests.parity.record_lightly --lightly PATH --bolts PATH

PATHs are checkouts of lightly-ai/lightly at 3ea0736, whose package's own initialisation has a stand-in, and of
Lightning-Universe/lightning-bolts. What is not given stays as it was recorded.
"""

import importlib
from pathlib import Path
from typing import Any

from tests.parity.record import Sources, lars_path, load, record_from, stand_in
from tests.parity.setting import numbers


def lightly(root: Path) -> dict[str, Any]:
    for name in ("lightly", "lightly.loss", "lightly.utils"):
        stand_in(name, {}, root)
    a, b = numbers("p", (6, 10)), numbers("z", (6, 10))
    nt_xent = importlib.import_module("lightly.loss.ntx_ent_loss").NTXentLoss()
    vicreg = importlib.import_module("lightly.loss.vicreg_loss").VICRegLoss()
    return {"nt_xent": nt_xent(a, b).item(), "vicreg": vicreg(a, b).item()}


def bolts(root: Path) -> dict[str, Any]:
    stand_in("pl_bolts", {})
    stand_in("pl_bolts.utils", {})
    stand_in("pl_bolts.utils.stability", {"under_review": lambda: lambda kind: kind})  # a warning
    script = load(root / "src" / "pl_bolts" / "optimizers" / "lars.py", "bolts_lars")
    return {"lars": lars_path(script.LARS, trust_coefficient=0.02)}


SOURCES: Sources = {
    "lightly": ("lightly-ai/lightly", lightly),
    "bolts": ("Lightning-Universe/lightning-bolts", bolts),
}


def main() -> None:
    record_from(SOURCES, __doc__)


if __name__ == "__main__":
    main()
