"""The scripts of docs/cluster.md, run by bash with stand-ins for the scheduler and for what they start."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from resmom.recipes import names

PAGE = Path(__file__).parents[1] / "docs/cluster.md"
SCRIPTS = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
ONE, SEVERAL = (next(text for text in SCRIPTS if "#!/bin" in text and word in text) for word in ("srun", "torchrun"))

STANDINS = {
    "srun": 'exec "$@"',
    "scontrol": 'echo "$@" >> "$LOG/requeued"',
    # Says how it was called, and waits for a signal, or ends as it is told to.
    "resmom": """
        echo "$@" >> "$LOG/called"
        [ -n "$ENDS_WITH" ] && exit "$ENDS_WITH"
        trap 'touch "$LOG/saved-$$"; exit 138' USR1
        touch "$LOG/ready-$$"
        while :; do sleep 0.05; done
    """,
    # Two processes of a group, of which each hears of the other's signal; they are its children, and it answers with 1.
    "torchrun": """
        resmom "$@" & one=$!
        resmom "$@" & two=$!
        wait $one; first=$?
        wait $two; second=$?
        [ "$first$second" = 00 ] && exit 0
        exit 1
    """,
}


@pytest.fixture
def node(tmp_path: Path) -> dict[str, str]:
    """The environment of a job with these stand-ins before all other programs."""
    for name, text in STANDINS.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/bash\n" + text)
        program.chmod(0o755)
    here = {"SLURM_SUBMIT_DIR": "/data", "SLURM_JOB_ID": "77", "LOG": str(tmp_path), "ENDS_WITH": ""}
    return os.environ | here | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def begun(script: str, node: dict[str, str], processes: int) -> tuple[subprocess.Popen[bytes], list[int]]:
    """The script at work, and the processes that it has started, when they are ready for a signal."""
    job = subprocess.Popen(["bash", "-c", script], env=node)
    log = Path(node["LOG"])
    while len(ready := list(log.glob("ready-*"))) < processes:
        assert job.poll() is None
        time.sleep(0.02)
    return job, [int(path.name.partition("-")[2]) for path in ready]


def lines(node: dict[str, str], name: str) -> list[str]:
    path = Path(node["LOG"]) / name
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_reads_each(script: str) -> None:
    subprocess.run(["bash", "-n", "-c", script], check=True)


def test_each_names_what_there_is() -> None:
    for script in SCRIPTS:
        for recipe in re.findall(r"(?:pretrain|compare) (\w+)", script):
            assert recipe in names()
        assert "pretrain" not in script or "--or-resume" in script


def test_one_gpu_is_put_into_the_queue_again_when_its_time_is_over(node: dict[str, str]) -> None:
    job, (task,) = begun(ONE, node, 1)
    os.kill(task, signal.SIGUSR1)  # as Slurm does, to the step alone
    assert job.wait() == 138 and lines(node, "requeued") == ["requeue 77"]
    assert lines(node, "called") == ["pretrain --data /data/photos --out /data/runs/a --time 20h --or-resume"]


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="no pgrep on the path")
def test_several_gpus_are_asked_by_way_of_one_process(node: dict[str, str]) -> None:
    job, tasks = begun(SEVERAL, node, 2)
    job.send_signal(signal.SIGUSR1)  # as Slurm does with B:, to the script alone
    while not (saved := list(Path(node["LOG"]).glob("saved-*"))):
        assert job.poll() is None
        time.sleep(0.02)
    (heard,) = (int(path.name.partition("-")[2]) for path in saved)
    (other,) = set(tasks) - {heard}
    os.kill(other, signal.SIGUSR1)  # which real ones tell each other
    assert job.wait() == 1 and lines(node, "requeued") == ["requeue 77"]


@pytest.mark.parametrize("script", [ONE, SEVERAL])
@pytest.mark.parametrize("status", [0, 2])
def test_what_is_finished_or_wrong_is_not_started_again(node: dict[str, str], script: str, status: int) -> None:
    ended = subprocess.run(["bash", "-c", script], env=node | {"ENDS_WITH": str(status)})
    assert ended.returncode == (status if script == ONE else min(status, 1)) and lines(node, "requeued") == []
