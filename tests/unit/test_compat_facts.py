"""What existing algorithms rely on, fact by fact. Those about clients are in tests/contract/test_client_facts.py."""

from __future__ import annotations

import asyncio
import json
import os
import py_compile
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from messages.runs import RunHandedOver
from services.worker.devices import visible
from services.worker.folders import Folders
from services.worker.notes import notes
from services.worker.pool import Key
from services.worker.process_start import scrubbed
from shared.algorithms import ASSETS, AlgorithmEntry, index_key, pack_index
from shared.objects.base import FileUpload
from shared.pinning import choose_devices
from shared.settings import Settings
from shared.versions import Description
from tests.contract.test_runner_process import Bench, Desk
from tests.contract.test_runner_process import bench as bench
from tests.contract.test_worker_data import Node
from tests.contract.test_worker_data import node as node
from tests.unit.author_world import Steps, add_sample, learning, within
from tests.unit.author_world import link as link
from voxloom import testing
from voxloom.errors import InvalidInput
from voxloom.manifest import Manifest, parse_manifest
from voxloom.parameters import check_parameters, read_declarations
from voxloom.runner import ImageSchema, MultiRegionSegmentationSchema, TaskStoppedException, family
from voxloom.runner.base import execute, make, train
from voxloom.runner.handler import TaskHandler
from voxloom.runner.importing import ModuleUnusable, check_runner_file
from voxloom.runner.output import format_lines
from voxloom.runner.plain import plain_dict
from voxloom.runner.sessions import EXPIRE_HOURS, ITEMS, Sessions
from voxloom.runner.traininghandler import TrainingHandler
from voxloom.testing import LocalLink

IMAGE = np.arange(6, dtype=np.uint8).reshape(2, 3)
GOLDEN = Path(__file__).parents[1] / "golden"
ONE = {"input_dataset_ids": ["one"]}
FILES = {"Runner.py", "pyproject.toml"}
PROJECT = '[project]\nname = "mine"\nversion = "1.0.0"\n'


def manifest(text: str = PROJECT, files: set[str] = FILES) -> Manifest:
    return parse_manifest(text.encode(), files)


@pytest.mark.parametrize(
    ("version", "numbers"), [("1.0.0", ("1", "0")), ("0.1.0", ("0", "1")), ("1.1.0", ("1", "1")), ("2.3", ("2", "3"))]
)
def test_01_the_first_two_parts_of_a_version_count(version: str, numbers: tuple[str, str]) -> None:
    read = manifest(PROJECT.replace("1.0.0", version))
    assert (read.major, read.minor) == numbers


def test_01_a_version_without_a_second_number_is_refused() -> None:
    with pytest.raises(InvalidInput, match="version"):
        manifest(PROJECT.replace("1.0.0", "1"))


def test_02_a_list_of_equal_arrays_is_one_dataset_and_reads_back_as_a_list(link: LocalLink) -> None:
    regions = {"region_names": ["a", "b"], "region_masks": [IMAGE, IMAGE + 1]}

    def step(self: Any) -> Any:
        (one,) = self.post_data([regions], MultiRegionSegmentationSchema)
        return one, self.fetch_data([one], MultiRegionSegmentationSchema)[0]["region_masks"]

    one, masks = within(link, step)
    with h5py.File(link.files[one]) as file:
        assert (file["region_masks"].shape, file["region_names"].shape) == ((2, 2, 3), (2,))
    assert (type(masks), [mask.tolist() for mask in masks]) == (list, [IMAGE.tolist(), (IMAGE + 1).tolist()])


def test_03_fetch_data_gives_the_schemas_fields_in_private_writable_arrays(link: LocalLink) -> None:
    one = link.add({"image": IMAGE, "unknown": 1})

    def step(self: Any) -> Any:
        first, second = self.fetch_data([one, one], ImageSchema, "image")
        first["image"][:] = 9
        return first.keys(), first["mask"], second["image"].tolist()

    assert within(link, step) == ({"image", "mask", "points"}, None, IMAGE.tolist())


def test_04_init_runs_before_every_run_and_needs_no_super(link: LocalLink) -> None:
    class Mine(Steps):
        def __init__(self) -> None:
            self.seen: list[int] = []
            self.model = "not loaded"

        def load_assets(self) -> None:
            self.model = "loaded"

        def inference(self, data: Any, args: Any, /) -> Any:
            self.seen.append(1)
            return [self.model, str(len(self.seen))]

    made = make(Mine, TaskHandler(link))
    assert [execute(made, TaskHandler(link), ONE) for _ in range(2)] == [["loaded", "1"]] * 2


@pytest.mark.parametrize("supported", [["cpu", "gpu"], ["gpu"]])
def test_05_gpu_may_become_cpu(supported: list[str]) -> None:
    about = Description(algorithm_type="Generic", supported_devices=supported, default_device="gpu")
    entry = AlgorithmEntry(
        algorithm_id="a", project="default", name="A", major="1", minors={}, next_minor=0, about=about
    )
    assert choose_devices(entry, None).classes == ["gpu", "cpu"]


@pytest.mark.parametrize(("device_class", "warned"), [("cpu", True), ("gpu", False)])
def test_05_and_its_log_says_so(device_class: str, warned: bool) -> None:
    data = json.loads((GOLDEN / "voxloom.execution.assigned.v1.json").read_text())["data"]
    work = {**data["work"], "devices": ["gpu", "cpu"], "device_warning": None, "warnings": []}
    told = {**data, "subject": "run", "project": "default", "attempt": 1, "lost": 0}
    said = notes(RunHandedOver.model_validate({**told, "device_class": device_class, "work": work}))
    assert (len(said), all("runs on cpu" in line for line in said)) == (int(warned), True)


async def test_05_a_large_asset_is_linked_for_runs_and_never_copied_or_read(node: Node) -> None:
    # Given an algorithm with an asset of 1 GiB that takes no room on the disk
    content, weights = "a" * 64, node.store.scratch / "weights"
    weights.touch()
    os.truncate(weights, 1 << 30)
    stored = weights.stat().st_ino
    await node.store.put_files(ASSETS, [FileUpload(content, weights)])
    name, index = pack_index({"files/weights": content})
    await node.store.put(ASSETS, index_key(name), index)
    node.pin = node.pin.model_copy(update={"assets": name})
    # When many runs that start at once ask for it
    runs = [await node.begin() for _ in range(20)]
    places = await asyncio.gather(*(run.asset("files/weights") for run in runs))
    # Then all get the very file that was deployed, as it was
    found = [place.stat() for place in places]
    assert {(one.st_ino, one.st_size, one.st_blocks) for one in found} == {(stored, 1 << 30, 0)}


async def test_05_a_large_asset_is_in_memory_once_and_stays_there(bench: Bench) -> None:
    source = """
    from voxloom import Runner as Base
    class Runner(Base):
        def load_assets(self): self.weights = self.fetch_asset("weights.txt").getvalue()
        def preprocess(self, input_data, args): return None
        def inference(self, data, args): return None
        def postprocess(self, data, args): return [str(len(self.weights))]
    """
    size = 256 << 20
    desk, process = LargeAsset(bench.folder, size), await bench.process()
    module = bench.module(Runner=source)
    cold, warm = [(await bench.run(module, process, desk))[0] for _ in range(2)]
    assert (cold.outputs, warm.outputs, desk.assets) == ([str(size)], [str(size)], ["weights.txt"])
    # The process itself has far less than that.
    assert size < (cold.peak_memory_bytes or 0) < 1.75 * size


class LargeAsset(Desk):
    """Its asset is a file of that many bytes, which take no room on the disk."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__(folder)
        self._size = size

    async def asset(self, path: str) -> Path:
        place = await super().asset(path)
        os.truncate(place, self._size)
        return place


def test_05_memory_is_not_limited_unless_told() -> None:
    assert Settings.model_fields["runner_memory"].default is None


async def test_06_a_process_sees_its_card_alone_and_calls_it_cuda(bench: Bench) -> None:
    module = bench.module("return os.environ['CUDA_VISIBLE_DEVICES'], self.device")
    ended, _ = await bench.run(module, visible_cards=visible(1, {"CUDA_VISIBLE_DEVICES": "4,7"}), device="cuda")
    assert ended.outputs == ["('7', 'cuda')"]


def test_07_heights_and_widths_may_change_and_only_the_count_is_checked(link: LocalLink) -> None:
    class Mine(family.Image2ImageRunner):
        def inference(self, data: Any, args: Any, /) -> Any:
            assert self._input_images_count == 2
            return np.zeros((2, 20, 30), np.float32)

    ids = [link.add({"image": IMAGE}) for _ in range(2)]
    outputs = execute(make(Mine, TaskHandler(link)), TaskHandler(link), {"input_dataset_ids": ids})
    assert [h5py.File(link.files[one])["image"].shape for one in outputs] == [(20, 30)] * 2


def test_07_segmentations_remember_the_shape(link: LocalLink) -> None:
    class Mine(family.Image2SegmentationRunner):
        def preprocess(self, input_data: Any, args: Any = None) -> Any:
            self._input_images_shape = (3, 1, 1)
            return np.zeros((3, 4, 4), np.uint8)

        def inference(self, data: Any, args: Any, /) -> Any:
            return data

    assert len(execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE)) == 3


def test_08_output_ids_are_free_texts(link: LocalLink) -> None:
    class Mine(Steps):
        def postprocess(self, data: Any, args: Any) -> Any:
            return ["This is Foo!", *data]

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE) == ["This is Foo!", "one"]


def test_09_a_file_posted_in_a_run_is_fetched_by_it_at_once(link: LocalLink) -> None:
    def step(self: Any) -> Any:
        return self.fetch_data(self.post_data([{"image": IMAGE}], ImageSchema), ImageSchema)[0]["image"].tolist()

    assert within(link, step) == IMAGE.tolist()


def test_10_one_token_is_shared_by_different_algorithms(link: LocalLink) -> None:
    class Other(Steps):
        def inference(self, data: Any, args: Any, /) -> Any:
            return [self.load_item_from_session("model")["name"]]

    within(link, lambda self: self.save_item_to_session({"name": "shared"}, "model"))
    assert execute(make(Other, TaskHandler(link)), TaskHandler(link), ONE) == ["shared"]


def test_10_five_items_stay_for_a_day_and_a_missing_one_is_a_key_error() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    for number in range(6):
        sessions.cache_of("t").add_item(number, str(number))
    kept = sessions.cache_of("t").names()
    with pytest.raises(KeyError):
        _ = sessions.cache_of("t")["0"]
    now[0] = 24 * 3600 + 1.0
    assert (kept, len(sessions.cache_of("t"))) == (["1", "2", "3", "4", "5"], 0)
    assert (ITEMS, EXPIRE_HOURS) == (5, 24)


def test_11_after_a_stop_a_last_checkpoint_can_be_saved(link: LocalLink) -> None:
    class Mine(Steps):
        def train(self, training_data: list[str], args: Any) -> None:
            link.stop()
            try:
                self.set_progress(0.5)
            finally:
                self.save_checkpoint({"files/weights.bin": b"last"})
                self.log_message("saved")
                self.set_progress(0.75)

    made = make(Mine, TrainingHandler(link))
    with pytest.raises(TaskStoppedException):
        train(made, TrainingHandler(link), [])
    assert (len(link.checkpoints), link.lines, link.progress) == (1, [("INFO", "saved")], [0.75])


def parameters(**config: Any) -> Any:
    declared, _, _ = read_declarations([{"name": "p", "description": "d", "config": config}], "additional_parameters")
    return declared


def test_12_defaults_are_filled_into_args_and_what_was_sent_stays() -> None:
    sent = {"other": 1}
    args = check_parameters(parameters(type="float", default=2.0, adjustable=False), sent)
    assert (args, sent) == ({"other": 1, "p": 2.0}, {"other": 1})


@pytest.mark.parametrize(("sent", "args"), [({"p": 3.0}, {"p": 3}), ({"p": 4}, {"p": 4}), ({}, {})])
def test_12_integral_floats_are_ints_and_no_default_fills_nothing(sent: Any, args: Any) -> None:
    found = check_parameters(parameters(type="int", adjustable=False), sent)
    assert (found, [type(one) for one in found.values()]) == (args, [int] * len(args))


def test_12_the_same_dict_goes_to_all_steps(link: LocalLink) -> None:
    class Mine(Steps):
        def preprocess(self, input_data: dict[str, Any], args: Any) -> Any:
            args["seen"] = "in preprocess"

        def postprocess(self, data: Any, args: Any) -> Any:
            return [args["seen"]]

    assert execute(make(Mine, TaskHandler(link)), TaskHandler(link), ONE, {"a": 1}) == ["in preprocess"]


def test_13_runner_py_debugs_itself_in_the_authors_shell(tmp_path: Path) -> None:
    (tmp_path / "Runner.py").write_text(
        "from compox.algorithm_debug import debug\n"
        "from compox.algorithm_utils.Image2ImageRunner import Image2ImageRunner\n"
        "from helper import double\n"
        "class Runner(Image2ImageRunner):\n"
        "    def inference(self, data, args={}):\n"
        "        return double(data)\n"
        "if __name__ == '__main__':\n"
        "    print(debug('.', 'scan.npy')[0]['image'].max())\n"
    )
    (tmp_path / "helper.py").write_text("def double(data):\n    return data * 2\n")
    np.save(tmp_path / "scan.npy", np.full((4, 4), 3, np.uint8))
    command = [sys.executable, "-m", "voxloom.compat", "Runner.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False)
    assert done.stdout.splitlines()[-1:] == ["6"], done.stderr


async def test_14_a_run_may_have_children_and_its_folder_is_emptied(bench: Bench, tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    await folders.open()
    folder = await folders.take()
    body = """
    import multiprocessing, tempfile
    tempfile.mkstemp()
    child = multiprocessing.get_context('fork').Process(target=square, args=(2,))
    child.start(); child.join()
    return multiprocessing.current_process().daemon, child.exitcode
    """
    ended, _ = await bench.run(bench.module(body), scratch=str(folder / "work"))
    left = list((folder / "work").iterdir())
    folders.give_back(folder)
    await folders.close()
    assert (ended.outputs, len(left), list(tmp_path.iterdir())) == (["(False, 0)"], 1, [])


async def test_14_a_run_may_have_as_many_children_as_its_worker(bench: Bench) -> None:
    body = "import resource; return resource.getrlimit(resource.RLIMIT_NPROC)"
    ended, _ = await bench.run(bench.module(body))
    assert ended.outputs == [str(resource.getrlimit(resource.RLIMIT_NPROC))]


@pytest.mark.parametrize("start", ["os.fork()", "subprocess.run(['true'])", "threading.Thread(target=print).start()"])
async def test_14_one_process_too_many_is_said_to_be_one(bench: Bench, start: str) -> None:
    # Given a system that lets a run start nothing
    body = f"""
    import resource, subprocess
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    os.getuid() or os.setuid(65534)
    {start}
    """
    # When it tries to
    ended, _ = await bench.run(bench.module(body))
    # Then it is told which limits there may be
    assert ended.error is not None
    assert (ended.error.code, "ulimit -u" in ended.error.message) == ("out_of_processes", True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no /dev/shm")
async def test_14_children_share_data_through_dev_shm(bench: Bench) -> None:
    body = """
    import multiprocessing
    from multiprocessing.shared_memory import SharedMemory
    memory = SharedMemory(create=True, size=16 << 20)
    def fill():
        memory.buf[:] = bytes([7]) * len(memory.buf)
    child = multiprocessing.get_context('fork').Process(target=fill)
    child.start(); child.join()
    found = os.path.exists('/dev/shm/' + memory.name), child.exitcode, memory.buf[-1]
    memory.close(); memory.unlink()
    return found
    """
    ended, desk = await bench.run(bench.module(body))
    assert ended.outputs == ["(True, 0, 7)"], desk.log


async def test_14_a_full_dev_shm_is_named_as_what_may_be_the_cause(bench: Bench) -> None:
    # Given what the system does when there is no room behind a mapping
    body = """
    import mmap
    with open('shared', 'w+b') as file:
        file.truncate(4096)
        mapped = mmap.mmap(file.fileno(), 4096)
        file.truncate(0)
        mapped[0] = 1
    """
    ended, _ = await bench.run(bench.module(body))
    assert ended.error is not None
    assert (ended.error.code, "/dev/shm" in ended.error.message) == ("runner_killed", True)


@pytest.mark.parametrize("name", ["HOME", "TORCH_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"])
def test_14_folders_that_libraries_keep_things_in_are_passed_on(name: str) -> None:
    assert scrubbed({name: "/there", "AWS_SECRET_ACCESS_KEY": "no"}) == {name: "/there"}


def test_15_a_process_is_for_one_module_checkpoint_and_device() -> None:
    one = Key("default", "module", "assets", "cpu", "checkpoint")
    others = [one._replace(**{field: "other"}) for field in Key._fields]
    assert len({one, *others}) == 1 + len(Key._fields)


async def test_15_a_process_that_has_trained_serves_no_other_run(bench: Bench) -> None:
    source = """
    from voxloom import Runner as Base
    class Runner(Base):
        def preprocess(self, input_data, args): return None
        def inference(self, data, args): return None
        def postprocess(self, data, args): return []
        def train(self, training_data, args): self.save_checkpoint({"weights.txt": b"1"})
    """
    module, process = bench.module(Runner=source), await bench.process()
    before, _ = await bench.run(module, process)
    after, _ = await bench.run(module, process, task="training")
    assert (before.reusable, after.outcome, after.reusable) == (True, "completed", False)


def test_16_training_data_is_found_by_sample_and_key(link: LocalLink) -> None:
    sample_id = add_sample(link, 1, 2)

    def step(self: Any) -> Any:
        dataset = self.get_training_dataset([sample_id])
        (local,) = self.download_dataset_to_temp_store(dataset, {"image": ImageSchema})
        return dataset[:, "image"], [Path(one).parts[-4:-1] for one in local[0]["image"]]

    ids, places = learning(link, step)
    assert [len(one) for one in ids] == [2]
    assert places == [(sample_id, "file_000000", "image")] * 2


def test_17_a_checkpoint_lies_over_the_algorithms_assets(link: LocalLink) -> None:
    def read(self: Any) -> Any:
        return [self.fetch_asset(path).getvalue() for path in ("files/weights.bin", "pyproject.toml")]

    link.overlay = {"files/weights.bin": b"learnt"}
    assert within(link, read) == [b"learnt", b"[project]\n"]


def test_17_only_assets_can_be_in_a_checkpoint(link: LocalLink) -> None:
    with pytest.raises(ValueError, match="no asset"):
        learning(link, lambda self: self.save_checkpoint({"files/new.bin": b""}))


async def test_18_a_runner_pyc_is_loaded_as_a_package(bench: Bench) -> None:
    module = bench.module("import helper; return helper.name, again", helper="name = 'compiled'\n")
    (module / "Runner.py").write_text("from .helper import name as again\n" + (module / "Runner.py").read_text())
    for source in list(module.glob("*.py")):
        py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
        source.unlink()
    shutil.rmtree(module / "__pycache__", ignore_errors=True)
    ended, desk = await bench.run(module)
    assert ended.outputs == ["('compiled', 'compiled')"], desk.log


def test_18_a_runner_pyc_of_another_python_says_which(tmp_path: Path) -> None:
    (tmp_path / "Runner.pyc").write_bytes((3420).to_bytes(2, "little") + b"\r\n" + bytes(12))
    with pytest.raises(ModuleUnusable, match=r"Python 3\.9"):
        check_runner_file(tmp_path)


def test_19_a_line_of_the_log_has_one_form() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WARNING text\n", format_lines(0.0, "WARNING", "text"))


@pytest.mark.parametrize("level", ["info", "TRACE", "CRITICAL", ""])
def test_19_other_levels_are_a_value_error(link: LocalLink, level: str) -> None:
    with pytest.raises(ValueError, match="logging level"):
        within(link, lambda self: self.log_message("text", level))


def test_20_without_a_section_there_are_defaults_and_a_warning() -> None:
    read = manifest()
    assert (read.default_device, read.supported_devices, bool(read.warnings)) == ("cpu", ["cpu"], True)


def test_20_compox_section_is_read_and_voxlooms_wins() -> None:
    both = f'{PROJECT}[tool.compox]\ndescription = "theirs"\n[tool.voxloom]\ndescription = "ours"\n'
    theirs = f'{PROJECT}[tool.compox]\ndescription = "theirs"\nunknown_key = 1\n'
    assert (manifest(both).description, manifest(theirs).description) == ("ours", "theirs")
    assert any("unknown_key" in warning for warning in manifest(theirs).warnings)


def test_20_the_default_device_is_the_only_one() -> None:
    section = '[tool.compox]\nsupported_devices = ["gpu"]\n'
    assert manifest(PROJECT + section).default_device == "gpu"


def test_20_a_module_named_like_a_standard_one_is_warned_of() -> None:
    assert any("queue" in warning for warning in manifest(files={*FILES, "queue.py"}).warnings)


@pytest.mark.parametrize("options", [[[1, 2], [3]], [1, 2, 3]])
def test_20_options_of_lists_are_lists_or_not(options: Any) -> None:
    assert check_parameters(parameters(type="int_list", options=options), {"p": [1, 3]}) == {"p": [1, 3]}


def test_21_numpys_numbers_are_converted(link: LocalLink) -> None:
    class Mine(Steps):
        def benchmark(self, args: Any) -> Any:
            return {"time": np.float32(0.5), "steps": np.int64(2), "curve": np.arange(2)}

    assert testing.benchmark(Mine) == {"time": 0.5, "steps": 2, "curve": [0, 1]}
    assert plain_dict({"flag": np.bool_(True)}, "it") == {"flag": True}
