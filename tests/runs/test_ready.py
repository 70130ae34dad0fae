"""What is refused before a run starts, and in which order."""

from dataclasses import replace
from pathlib import Path

import pytest

from resmom.config import ConfigError, Run
from resmom.errors import RunDirError
from resmom.ondisk import write_json
from resmom.rundir import RunDir
from resmom.runs.pretrain import pretrain
from resmom.train.optim import Sgd
from tests.runs.settling.derived import QUIET, images, tiny


def test_a_used_folder_hides_no_mistake_of_a_recipe(tmp_path: Path) -> None:
    """Whoever has named another folder would meet it then."""
    write_json(RunDir(tmp_path).config, {})
    with pytest.raises(ConfigError, match=r"optim\.lr is -1"):
        pretrain(replace(tiny(Run()), optim=Sgd(lr=-1.0)), images(), tmp_path, QUIET)
    with pytest.raises(RunDirError, match="resmom resume"):
        pretrain(tiny(Run()), images(), tmp_path, QUIET)
