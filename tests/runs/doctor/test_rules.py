"""The rules on made-up facts: a healthy machine is told nothing to do, and each illness fires its own rule."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from resmom.runs.doctor.devices import Device, Found, judge_device, judge_found
from resmom.runs.doctor.fast import Compiled, Jpeg, judge_compiled, judge_jpeg
from resmom.runs.doctor.finding import Finding
from resmom.runs.doctor.folder import Folder, changes, judge_folder
from resmom.runs.doctor.images import Images, judge_images
from resmom.runs.doctor.images_of import Named, judge_images_of
from resmom.runs.doctor.place import Place, judge_place
from resmom.runs.doctor.resources import Cores, Memory, Threads, judge_cores, judge_memory, judge_threads
from resmom.runs.doctor.system import System, judge_system
from resmom.runs.doctor.versions import Imported, Installed, judge_imported, judge_installed

GIB = 2**30

SYSTEM = System("3.12.1", "Linux", "x86_64")
INSTALLED = Installed(
    {"resmom": "0.1.0", "torch": "2.8.0", "torchvision": "0.23.0", "numpy": "2.1.0", "numba": None, "mypy": None}
    | {"pillow-heif": None},
    {
        "resmom": (
            *("torch>=2.8", "numpy>=1.26", 'numba>=0.61; extra == "fast"', 'mypy>=1.15; extra == "dev"'),
            'pillow-heif>=1.8; extra == "heif"',
        ),
        "torchvision": ("torch==2.8.0", 'numpy; python_version > "3"'),
    },
)
IMPORTED = Imported("torch", "2.8.0+cu128", "2.8.0", "torch/__init__.py", 2.0)
JPEG, COMPILED = Jpeg(True, True, 0), Compiled(True, 0.5, 1e-8)
CORES = Cores("A processor", 16, 16, None, 0.5)
MEMORY = Memory(64 * GIB, 50 * GIB, None)
THREADS = Threads(16, 16.0, "", "PASSIVE", True, "")
FOUND = Found("CUDA 12.8", "NVIDIA UNIX x86_64 Kernel Module  570.1", None, "", ("cpu", "cuda:0"))
CPU = Device("cpu", "", "native", 1e-7, 1e-5, 1e-3)
GPU = Device("cuda:0", "A GPU", "native", 1e-4, 1e-2, 1e-3, 70 * GIB, 80 * GIB, (9, 0), ("sm_80", "sm_90"))
PLACE = Place("runs", 100 * GIB, "", "", True)
IMAGES = Images("photos", "", False, 5000, 10, 300, 0, 16, 0, "", 0.2)
FOLDER = Folder("runs/a", bytes=GIB, free=100 * GIB, step=5, steps=10, last="runs/a/checkpoints/last.pt")
NAMED = Named("runs/a", "photos", same=True)


def test_a_healthy_machine_is_told_nothing_to_do() -> None:
    healthy: list[Iterable[Finding]] = [
        judge_system(SYSTEM),
        judge_installed(INSTALLED),
        judge_imported(IMPORTED),
        judge_jpeg(JPEG),
        judge_compiled(COMPILED),
        judge_cores(CORES),
        judge_memory(MEMORY),
        judge_threads(THREADS, "Linux"),
        judge_found(FOUND),
        judge_device(CPU),
        judge_device(GPU),
        judge_place(PLACE),
        judge_images(IMAGES),
        judge_folder(FOLDER),
        judge_images_of(NAMED),
    ]
    for findings in healthy:
        (finding,) = findings
        assert finding.state == "ok" and finding.words and not finding.remedy


def test_pictures_that_are_not_used_are_a_note() -> None:
    note, fine = judge_images(replace(IMAGES, passed_over="pictures of formats that are not read (2 .heic)"))
    assert (note.state, fine.state) == ("note", "ok") and "2 .heic" in note.remedy


def one(findings: Iterable[Finding]) -> tuple[str, str, str]:
    """The one finding there is: its state, words and remedy."""
    (finding,) = findings
    assert finding.state == "ok" or finding.remedy
    return finding.state, finding.words, finding.remedy


def test_a_finding_has_a_remedy_unless_it_is_ok() -> None:
    with pytest.raises(ValueError, match="remedy"):
        Finding("x", "problem", "it is broken.")
    with pytest.raises(ValueError, match="remedy"):
        Finding("x", "ok", "fine.", "do something")


def test_systems() -> None:
    assert one(judge_system(replace(SYSTEM, system="Windows")))[0] == "problem"
    assert one(judge_system(replace(SYSTEM, system="Darwin")))[0] == "ok"


class TestVersions:
    @staticmethod
    def with_versions(**changed: str | None) -> Installed:
        return replace(INSTALLED, versions={**INSTALLED.versions, **changed})

    def test_missing(self) -> None:
        first, second = judge_installed(self.with_versions(numpy=None))  # of both that need it
        assert first.state == second.state == "problem" and "numpy is not installed" in first.words
        assert first.remedy == "pip install 'numpy>=1.26'" and "torchvision needs numpy" in second.words

    def test_too_old_for_resmom(self) -> None:
        state, words, remedy = one(judge_installed(self.with_versions(numpy="1.24.0")))
        assert state == "problem" and words == "numpy is 1.24.0, and resmom needs numpy>=1.26."
        assert remedy == "pip install 'numpy>=1.26'"

    def test_torchvision_of_another_torch(self) -> None:
        state, words, remedy = one(judge_installed(self.with_versions(torch="2.9.1")))
        assert state == "problem" and "torchvision needs torch==2.8.0" in words and "belong together" in remedy

    def test_an_extra_may_be_missing_but_not_be_too_old(self) -> None:
        state, words, _ = one(judge_installed(self.with_versions(numba="0.50.0")))
        assert state == "problem" and "numba is 0.50.0" in words
        old = self.with_versions(**{"pillow-heif": "1.7.0"})
        assert "pillow-heif is 1.7.0, and resmom needs pillow-heif>=1.8" in one(judge_installed(old))[1]
        assert one(judge_installed(self.with_versions(mypy="0.1")))[0] == "ok"  # of an extra that is not looked at

    def test_not_installed_itself(self) -> None:
        found = replace(self.with_versions(resmom=None), needs={})
        state, words, remedy = one(judge_installed(found))
        assert state == "note" and "only found on the path" in words and "pip install" in remedy

    def test_two_installations_over_each_other(self) -> None:
        state, words, _ = one(judge_imported(replace(IMPORTED, installed="2.7.1")))
        assert state == "problem" and "2.8.0+cu128" in words and "2.7.1" in words
        assert one(judge_imported(replace(IMPORTED, installed=None)))[0] == "ok"


class TestFast:
    @pytest.mark.parametrize(
        ("found", "state", "words"),
        [
            (Jpeg(False), "note", "not installed"),
            (Jpeg(True, False), "problem", "refuses a sound JPEG"),
            (Jpeg(True, True, 1), "note", "by up to 1 of 255"),
            (Jpeg(True, True, 40), "problem", "by up to 40 of 255"),
        ],
    )
    def test_jpeg(self, found: Jpeg, state: str, words: str) -> None:
        told = one(judge_jpeg(found))
        assert told[0] == state and words in told[1]

    @pytest.mark.parametrize(
        ("found", "state", "words"),
        [
            (Compiled(False), "note", "not installed"),
            (Compiled(True, 1.0, 0.1), "problem", "other numbers"),
            (Compiled(True, 1.0, float("nan")), "problem", "other numbers"),
        ],
    )
    def test_compiled(self, found: Compiled, state: str, words: str) -> None:
        told = one(judge_compiled(found))
        assert told[0] == state and words in told[1]


class TestResources:
    def test_limits_of_cores_are_told(self) -> None:
        assert "4 of 16 cores for this process, by its affinity" in one(judge_cores(replace(CORES, allowed=4)))[1]
        assert "2.5 of 16 cores for this process, by the limit" in one(judge_cores(replace(CORES, quota=2.5)))[1]
        assert "16 cores." in one(judge_cores(replace(CORES, quota=32.0)))[1]

    def test_a_busy_machine(self) -> None:
        state, words, remedy = one(judge_cores(replace(CORES, load=14.0)))
        assert state == "note" and "14.0 threads" in words and "--threads 1" in remedy

    @pytest.mark.parametrize(("free", "state"), [(GIB // 2, "problem"), (-GIB, "problem"), (2 * GIB, "note")])
    def test_little_memory(self, free: int, state: str) -> None:
        assert one(judge_memory(replace(MEMORY, free=free)))[0] == state

    def test_a_limit_of_memory_is_told(self) -> None:
        _, words, _ = one(judge_memory(Memory(64 * GIB, 6 * GIB, 8 * GIB)))
        assert "6.0 GiB of 8.0 GiB are free, the limit of this container or job (the machine has 64.0 GiB)" in words

    def test_more_threads_than_cores(self) -> None:
        """As in a container with a share of a large machine, where torch sees all of it."""
        state, words, remedy = one(judge_threads(replace(THREADS, usable=2.5), "Linux"))
        assert state == "problem" and "16 threads" in words and "--threads 2 " in remedy
        assert one(judge_threads(replace(THREADS, threads=3, usable=2.5), "Linux"))[0] == "ok"
        assert "--threads 1 " in one(judge_threads(replace(THREADS, threads=2, usable=0.5), "Linux"))[2]

    def test_threads_held_back(self) -> None:
        state, words, remedy = one(judge_threads(replace(THREADS, threads=1, asked="1"), "Linux"))
        assert state == "note" and "OMP_NUM_THREADS is 1" in words and "--threads 16" in remedy
        assert one(judge_threads(replace(THREADS, threads=8), "Linux"))[0] == "ok"  # one per physical core
        assert (
            one(judge_threads(replace(THREADS, threads=1, asked="1", given=True), "Linux"))[0] == "ok"
        )  # by --threads

    def test_spinning(self) -> None:
        assert one(judge_threads(replace(THREADS, waiting="active"), "Linux"))[0] == "note"

    def test_allocators(self) -> None:
        state, words, _ = one(judge_threads(replace(THREADS, allocator="/usr/lib/libtcmalloc.so"), "Linux"))
        assert state == "note" and "libtcmalloc" in words
        assert one(judge_threads(replace(THREADS, kept=False), "Linux"))[0] == "note"
        assert one(judge_threads(replace(THREADS, kept=False), "Darwin"))[0] == "ok"


class TestDevices:
    NONE = replace(FOUND, devices=("cpu",))

    def test_no_gpu_at_all_is_fine(self) -> None:
        for built in ("", "CUDA 12.8"):
            told = one(judge_found(Found(built, "", None, "Found no NVIDIA driver on your system.", ("cpu",))))
            assert told[0] == "ok" and "runs on the CPU" in told[1]
        assert "--device mps" in one(judge_found(Found("", "", None, "", ("cpu", "mps"))))[1]

    def test_a_build_without_cuda_beside_a_gpu(self) -> None:
        state, words, remedy = one(judge_found(replace(self.NONE, built="")))
        assert state == "problem" and "without CUDA" in words and "570.1" in words and "build for CUDA" in remedy

    def test_a_driver_too_old(self) -> None:
        refused = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
        state, words, remedy = one(judge_found(replace(self.NONE, reason=refused)))
        assert state == "problem" and "too old" in words and "CUDA 12.8" in words and "update the driver" in remedy

    def test_a_gpu_that_is_hidden(self) -> None:
        hidden = replace(self.NONE, visible="", reason="No CUDA GPUs are available")
        state, words, _ = one(judge_found(hidden))
        assert state == "note" and "CUDA_VISIBLE_DEVICES is ''" in words
        assert "CUDA_VISIBLE" not in one(judge_found(replace(hidden, visible=None)))[1]

    @pytest.mark.parametrize(
        ("capability", "compiled", "runs"),
        [
            ((9, 0), ("sm_80", "sm_90"), True),
            ((8, 6), ("sm_80", "sm_90"), True),  # binaries run on later ones of the same generation
            ((7, 5), ("sm_80", "sm_90"), False),
            ((12, 0), ("sm_80", "sm_90"), False),
            ((12, 0), ("sm_90", "compute_90"), True),  # translated by the driver
            ((12, 0), ("sm_90a", "compute_90a"), False),
            ((9, 0), ("sm_90a",), True),
            ((10, 3), ("sm_100f",), True),
            ((9, 0), ("gfx942",), True),
            ((9, 0), (), True),
        ],
    )
    def test_a_gpu_that_torch_was_not_compiled_for(
        self, capability: tuple[int, int], compiled: tuple[str, ...], runs: bool
    ) -> None:
        state, words, _ = one(judge_device(replace(GPU, capability=capability, compiled=compiled)))
        assert state == ("ok" if runs else "problem")
        assert ("compute capability" in words) is not runs

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"loss": 0.5}, "the loss by 5.0e-01"),
            ({"loss": None, "move": None}, "the loss is not finite, the weights' move is not finite"),
            ({"move": 1.5}, "the weights' move by 1.5e+00"),
            ({"loss_bf16": 0.3}, "the loss in bf16 by 3.0e-01"),
            ({"loss_bf16": None}, "the loss in bf16 is not finite"),
        ],
    )
    def test_a_device_that_computes_something_else(self, changed: dict[str, float | None], words: str) -> None:
        state, told, _ = one(judge_device(replace(GPU, **changed)))  # type: ignore[arg-type]
        assert state == "problem" and words in told and "the CPU's" in told
        assert "fp64" in one(judge_device(replace(CPU, **changed)))[1]  # type: ignore[arg-type]

    @pytest.mark.parametrize(("free", "state"), [(GIB // 2, "problem"), (30 * GIB, "note")])
    def test_memory_that_others_hold(self, free: int, state: str) -> None:
        told = one(judge_device(replace(GPU, free=free)))
        assert told[0] == state and "of 80.0 GiB free" in told[1]

    def test_bf16(self) -> None:
        assert "native" in one(judge_device(CPU))[1]
        state, words, remedy = one(judge_device(replace(CPU, bf16="emulated", loss_bf16=None)))
        assert state == "note" and "emulated" in words and "--train.precision fp32" in remedy
        assert "bf16" not in one(judge_device(replace(CPU, bf16="unknown", loss_bf16=None)))[1]


class TestPlace:
    @pytest.mark.parametrize(
        ("changed", "state", "words"),
        [
            ({"refused": "Permission denied"}, "problem", "nothing can be written to runs: Permission denied"),
            ({"free": GIB // 2}, "problem", "512 MiB are free"),
            ({"free": 2 * GIB}, "note", "2.0 GiB are free"),
            (
                {"unlocked": "No locks available", "exclusive": False},
                "problem",
                "cannot be locked (No locks available)",
            ),
            ({"exclusive": False}, "problem", "can be locked twice at once"),
        ],
    )
    def test_each(self, changed: dict[str, object], state: str, words: str) -> None:
        told = one(judge_place(replace(PLACE, **changed)))  # type: ignore[arg-type]
        assert told[0] == state and words in told[1]

    def test_a_run_in_it(self) -> None:
        used, room = judge_place(replace(PLACE, used=True))
        assert used.state == "note" and "resmom resume runs" in used.remedy and room.state == "ok"


class TestImages:
    @pytest.mark.parametrize(
        ("changed", "state", "words"),
        [
            ({"refused": "photos does not exist."}, "problem", "photos does not exist."),
            ({"absent": True}, "note", "downloads it"),
            ({"images": 10}, "problem", "10 images of 10 classes"),
            ({"side": 8}, "problem", "8 pixels"),
            ({"unopened": 3, "first": "'a.jpg': the file is empty"}, "note", "3 more cannot be opened, such as"),
            (
                {"unopened": 3000, "first": "'a.jpg': the file is empty"},
                "problem",
                "such as 'a.jpg': the file is empty",
            ),
            (
                {"undecoded": 1, "first": "'a.jpg': cut short"},
                "note",
                "of 16 that were read 1 cannot be decoded",
            ),
            (
                {"undecoded": 3, "first": "'a.jpg': cut short"},
                "problem",
                "of 16 that were read 3 cannot be decoded",
            ),
        ],
    )
    def test_each(self, changed: dict[str, object], state: str, words: str) -> None:
        told = one(judge_images(replace(IMAGES, **changed)))  # type: ignore[arg-type]
        assert told[0] == state and words in told[1]

    def test_without_labels(self) -> None:
        assert "without labels" in one(judge_images(replace(IMAGES, classes=0)))[1]

    @pytest.mark.parametrize(
        ("found", "state", "words"),
        [
            (Named("a", "an array", given=True), "note", "given in Python (an array)"),
            (Named("a", "photos", refused="photos does not exist"), "problem", "photos does not exist."),
            (Named("a", "photos"), "problem", "photos is not what the run was trained on"),
        ],
    )
    def test_of_a_run(self, found: Named, state: str, words: str) -> None:
        told, again = one(judge_images_of(found)), "resmom resume a --data PLACE"
        assert told[0] == state and words in told[1]
        assert ("resmom.resume('a', data=…)" if found.given else again) in told[2]


class TestFolder:
    @pytest.mark.parametrize(
        ("changed", "state", "words", "remedy"),
        [
            ({"refused": "x is not a run folder"}, "problem", "x is not a run folder.", "resmom pretrain"),
            ({"refused": "no checkpoint", "unstarted": True}, "note", "no checkpoint yet", "resmom resume runs/a"),
            ({"damaged": "last.pt is damaged"}, "problem", "last.pt is damaged.", "start anew"),
            (
                {"damaged": "torn", "kept": ("k/1.pt", "k/2.pt")},
                "problem",
                "torn.",
                "cp k/2.pt runs/a/checkpoints/last.pt",
            ),
            ({"own": "mine.Net"}, "note", "modules of its own (mine.Net)", "resmom.resume("),
            ({"changed": ("torch 2.8 (now 2.9)",)}, "note", "there changed: torch 2.8 (now 2.9)", "bit for bit"),
        ],
    )
    def test_each(self, changed: dict[str, object], state: str, words: str, remedy: str) -> None:
        told = one(judge_folder(replace(FOLDER, **changed)))  # type: ignore[arg-type]
        assert told[0] == state and words in told[1] and remedy in told[2]

    @pytest.mark.parametrize(
        ("changed", "state", "words"),
        [
            ({"busy": True}, "note", "another process is working in runs/a"),
            ({"unlocked": "Read-only file system"}, "problem", "Read-only file system"),
            ({"free": GIB}, "problem", "checkpoints of 1.0 GiB"),
            (
                {"attention": (("collapsed", "all points are one.", "lower it"),)},
                "note",
                "collapsed: all points are one.",
            ),
        ],
    )
    def test_beside_what_it_is(self, changed: dict[str, object], state: str, words: str) -> None:
        told = [f for f in judge_folder(replace(FOLDER, **changed)) if f.state != "ok"]  # type: ignore[arg-type]
        assert one(told)[0] == state and words in told[0].words

    def test_a_finished_run_needs_nothing_to_go_on(self) -> None:
        done = replace(FOLDER, step=10, free=0, unlocked="Read-only file system", changed=("torch 2.8 (now 2.9)",))
        assert one(judge_folder(done)) == ("ok", "runs/a is finished; its networks load.", "")

    def test_what_counts_as_changed(self) -> None:
        before = {
            "resmom": "0.1.0", "commit": "abc", "python": "3.11.7", "cpu": "A", "threads": 4, "gpu": [], "cores": 4,
            "time": "then", "packages": {"torch": "2.8.0", "numba": "0.61"},
        }  # fmt: skip
        assert changes(before, {**before, "time": "now", "cores": 8, "commit": None}) == ()
        now = {**before, "threads": 2, "gpu": ["A GPU"], "packages": {"torch": "2.9.0"}, "cpu": "B", "commit": "abd"}
        assert changes(before, now) == (
            "commit abc (now abd)", "cpu A (now B)", "numba 0.61 (now not there)", "torch 2.8.0 (now 2.9.0)",
            "threads 4 (now 2)", "GPU none (now A GPU)",
        )  # fmt: skip
