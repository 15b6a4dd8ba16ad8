"""What an algorithm says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from voxloom.errors import InvalidInput
from voxloom.manifest import Manifest, apply_overrides, parse_manifest, read_folder
from voxloom.models import DeployOverrides

FILES = {"Runner.py", "pyproject.toml"}
PROJECT = '[project]\nname = "denoise"\nversion = "1.2"\n'


def parse(tool: str = "", project: str = PROJECT, files: set[str] = FILES) -> Manifest:
    section = f"[tool.voxloom]\n{tool}" if tool else ""
    return parse_manifest(f"{project}{section}".encode(), files)


def refusal(tool: str = "", project: str = PROJECT, files: set[str] = FILES) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse(tool, project, files)
    return caught.value


def test_a_pyproject_without_our_section_has_defaults_and_a_warning() -> None:
    manifest = parse()

    assert (manifest.name, manifest.major, manifest.minor) == ("denoise", "1", "2")
    assert (manifest.algorithm_type, manifest.supported_devices, manifest.default_device) == (
        "Undefined",
        ["cpu"],
        "cpu",
    )
    assert (manifest.removable, manifest.exportable, manifest.check_importable) == (False, True, True)
    assert "[tool.voxloom]" in manifest.warnings[0]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.0.0", ("1", "0")), ("0.1.0", ("0", "1")), ("2.13", ("2", "13")), ("01.002.x-beta", ("1", "2"))],
)
def test_the_first_two_numbers_of_the_version_count(version: str, expected: tuple[str, str]) -> None:
    manifest = parse(project=f'[project]\nname = "a"\nversion = "{version}"\n')

    assert (manifest.major, manifest.minor) == expected


@pytest.mark.parametrize(
    "version",
    ['"1"', '""', '"1."', '".1"', '"a.b"', '"1.0rc1"', '"-1.0"', "1.0", '"1.١"', '"1.99999999999999999999"'],
)
def test_a_version_without_a_second_number_is_refused(version: str) -> None:
    error = refusal(project=f'[project]\nname = "a"\nversion = {version}\n')

    assert "MAJOR.MINOR" in error.message


@pytest.mark.parametrize("name", ["", " a", "a/b", "..", ".", "~root", "a\\\\b", "a\\u0000b", "a\\nb", "x" * 129])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    error = refusal(project=f'[project]\nname = "{name}"\nversion = "1.0"\n')

    assert (error.code, error.http_status) == ("invalid_pyproject", 400)


def test_a_name_may_have_blanks_dots_and_letters_of_any_script() -> None:
    assert parse(project='[project]\nname = "Zellkörper 2.0 細胞"\nversion = "1.0"\n').name == "Zellkörper 2.0 細胞"


def test_ours_wins_over_the_other_section() -> None:
    manifest = parse_manifest(
        f'{PROJECT}[tool.compox]\ndescription = "theirs"\n[tool.voxloom]\ndescription = "ours"\n'.encode(), FILES
    )

    assert manifest.description == "ours"


def test_the_other_section_is_read_alike() -> None:
    manifest = parse_manifest(f'{PROJECT}[tool.compox]\ndescription = "theirs"\ntags = ["a"]\n'.encode(), FILES)

    assert (manifest.description, manifest.warnings) == ("theirs", [])


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ('algorithm_type = "Image2Sound"', "algorithm_type is 'Image2Sound'"),
        ('supported_devices = ["tpu"]', "supported_devices is ['tpu']"),
        ("supported_devices = []", "supported_devices is []"),
        ('supported_devices = "cpu"', "supported_devices is 'cpu'"),
        ('default_device = "gpu"', "default_device is 'gpu'"),
        ('tags = "a"', "tags is 'a'"),
        ("description = 1", "description is 1"),
        ('removable = "yes"', "removable is 'yes'"),
        ("check_importable = 0", "check_importable is 0"),
        ("benchmark_outputs = [2026-01-01]", "benchmark_outputs has dates"),
        ("benchmark_outputs = 3", "benchmark_outputs must be a list"),
        ("additional_parameters = 3", "additional_parameters must be a list"),
        ('training_parameters = [{name = "p", config = {type = "x"}}]', "training_parameters[0]: 'p'"),
    ],
)
def test_a_wrong_value_is_said_with_its_place(tool: str, said: str) -> None:
    assert said in refusal(tool).message


def test_every_fault_is_said_at_once() -> None:
    message = refusal('removable = 1\ntags = 2\ndefault_device = "mps"').message

    assert [word in message for word in ("removable", "tags", "default_device")] == [True] * 3


@pytest.mark.parametrize(
    ("devices", "default"), [('["gpu"]', "gpu"), ('["gpu", "cpu"]', "cpu"), ('["mps", "gpu"]', "mps")]
)
def test_the_default_device_is_a_supported_one(devices: str, default: str) -> None:
    assert parse(f"supported_devices = {devices}").default_device == default


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        ('colour = "red"', "'colour' is not known"),
        ('description = ""', "description is empty"),
        ("tags = []", "no tags"),
        ("obfuscate = true", "cannot be exported"),
    ],
)
def test_what_is_odd_warns(tool: str, said: str) -> None:
    assert any(said in warning for warning in parse(tool).warnings)


@pytest.mark.parametrize("key", ["hash_module = true", "hash_assets = false", "pyc_only = false", "obfuscate = false"])
def test_older_keys_are_accepted_in_silence(key: str) -> None:
    assert parse(f'{key}\ndescription = "d"\ntags = ["t"]').warnings == []


@pytest.mark.parametrize(
    ("tool", "exportable"),
    [
        ("obfuscate = true", False),
        ("pyc_only = true", False),
        ("obfuscate = true\nexportable = true", True),
        ("obfuscate = false", True),
        ("exportable = false", False),
    ],
)
def test_who_hides_sources_must_say_that_they_may_be_exported(tool: str, exportable: bool) -> None:
    assert parse(tool).exportable is exportable


def test_what_an_export_carries_goes_before_the_sections_above_it_and_is_told() -> None:
    manifest = parse("removable = false\n[voxloom-exported]\nremovable = true")

    assert manifest.removable
    assert any("voxloom-exported" in warning for warning in manifest.warnings)


@pytest.mark.parametrize("section", ["[[voxloom-exported]]", '[voxloom-exported]\nexportable = "yes"'])
def test_what_an_export_carries_is_checked(section: str) -> None:
    assert "export" in refusal(section).message


@pytest.mark.parametrize(
    ("path", "warned"), [("logging.py", True), ("queue/__init__.py", True), ("a/b/queue.py", False), ("io.txt", False)]
)
def test_a_module_named_like_one_of_pythons_own_warns(path: str, warned: bool) -> None:
    manifest = parse('description = "d"\ntags = ["t"]', files={*FILES, path})

    assert bool(manifest.warnings) is warned


@pytest.mark.parametrize(
    "pyproject",
    [
        None,
        b"\xff\xfe",
        b"[project",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 5000,
        b"#" * ((1 << 20) + 1),
        b"project = 3",
        b"[project]\n",
        b'[project]\nname = 3\nversion = "1.0"',
        b'tool = 3\n[project]\nname = "a"',
        b'[project]\nname = "a"\nversion = "1.0"\n[tool]\nvoxloom = 1',
    ],
)
def test_what_is_no_pyproject_is_refused(pyproject: bytes | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_manifest(pyproject, FILES)

    assert (caught.value.code, caught.value.http_status) == ("invalid_pyproject", 400)


def test_without_a_runner_there_is_no_algorithm() -> None:
    error = refusal(files={"pyproject.toml", "pkg/Runner.py"})

    assert (error.code, error.http_status) == ("algorithm_runner_not_found", 400)


def test_a_compiled_runner_will_do() -> None:
    assert parse(files={"Runner.pyc", "pyproject.toml"}).name == "denoise"


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "Runner.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(PROJECT)

    assert read_folder(tmp_path).name == "denoise"


def test_overrides_change_what_they_name() -> None:
    overrides = DeployOverrides(algorithm_name="other", algorithm_major_version="07", removable=True, exportable=False)

    changed = apply_overrides(parse(), overrides)

    assert (changed.name, changed.major, changed.minor) == ("other", "7", "2")
    assert (changed.removable, changed.exportable) == (True, False)


@pytest.mark.parametrize(
    "overrides", [DeployOverrides(algorithm_name="a/b"), DeployOverrides(algorithm_major_version="one")]
)
def test_overrides_are_checked_like_the_pyproject(overrides: DeployOverrides) -> None:
    with pytest.raises(InvalidInput):
        apply_overrides(parse(), overrides)


@pytest.mark.parametrize(("written", "threads"), [("4", 4), ('"all"', 0), ("1", 1)])
def test_threads_are_a_number_or_all(written: str, threads: int) -> None:
    assert parse(f"threads = {written}").threads == threads


@pytest.mark.parametrize("written", ["0", "-1", "true", '"many"', "2.0", "100000"])
def test_another_number_of_threads_is_refused(written: str) -> None:
    assert "threads is" in refusal(f"threads = {written}").message


def test_an_algorithm_can_be_strict() -> None:
    assert [parse().strict, parse("strict = true").strict] == [False, True]


def test_dependencies_are_kept_and_what_is_wrong_with_them_is_a_warning() -> None:
    assert parse(project=f'{PROJECT}dependencies = ["numpy>=2"]\n').dependencies == ["numpy>=2"]
    assert any("dependencies" in text for text in parse(project=f"{PROJECT}dependencies = 7\n").warnings)


def test_outputs_of_a_benchmark_are_read_like_parameters_and_what_is_none_is_left_out() -> None:
    manifest = parse('benchmark_outputs = [{name = "run_time", config = {type = "float"}}, "speed"]')

    assert [(one.displayed_name, one.config.options) for one in manifest.benchmark_outputs] == [("Run time", [])]
    assert any("benchmark_outputs[1]" in warning and "left out" in warning for warning in manifest.warnings)
