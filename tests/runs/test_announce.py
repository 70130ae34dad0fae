"""What a run says before it starts."""

from pathlib import Path

import numpy as np
from PIL import Image

from resmom.data.open import open_data
from resmom.rundir import RunDir
from resmom.runs.announce import summary
from resmom.runs.job import prepare
from tests.runs.crash import small_run
from tests.runs.settling.derived import CPU, tiny


def test_images_that_are_not_used_are_told_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for split, n in (("train", 24), ("val", 4), ("rest", 3)):
        for number in range(n):
            path = tmp_path / "photos" / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    (tmp_path / "photos" / "one.heic").write_bytes(b"x")

    def said(spec: str) -> str:
        return summary(prepare(tiny(small_run()), open_data(spec), CPU), RunDir(tmp_path / "run"))

    whole = said(str(tmp_path / "photos"))
    assert "24 images (train/ and val/ folders (3 images outside of them left out))" in whole
    assert whole.count("outside of") == 1 and "\npassed over: pictures of formats that are not read (1 .heic)" in whole
    assert "\npassed over: pictures of formats" in said(f"{tmp_path / 'photos'}@held-out=0.25")
