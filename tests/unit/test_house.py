"""The house's rules as tests: configs load, the README's tree is true, tests stay on this machine."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from ghostpen.config import load_run_config
from ghostpen.errors import ConfigError

ROOT = Path(__file__).parents[2]
# Those of a deployment are of another root, and one may be the owner's.
CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.toml") if not path.name.startswith("deploy"))


def read_commented_settings(path: Path) -> set[str]:
    """Name the settings that a config leaves to the user: commented out, below their section."""
    settings, section = set(), ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line.strip()):
            section = f"{header[1]}."
        elif setting := re.match(r"# (\w+) = ", line):
            settings.add(f"{section}{setting[1]}")
    return settings


def test_configs_are_there() -> None:
    assert {path.name for path in CONFIGS} >= {
        "tiny.toml",
        *(f"gpt-oss-20b-{gpu_gb}gb.toml" for gpu_gb in (24, 48, 80)),
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_config_loads_or_names_what_it_leaves_out(path: Path) -> None:
    left_out = read_commented_settings(path)
    if left_out:
        with pytest.raises(ConfigError) as caught:
            load_run_config(path)
        assert set(re.findall(r"([\w.]+) is missing", caught.value.message)) == left_out
    load_run_config(path, [f"{key}=given" for key in left_out])


def test_demo_runs_on_the_cpu_where_there_is_a_gpu_too(tmp_path: Path) -> None:
    for folder in ("scripts", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    demo = shutil.copy(ROOT / "scripts/demo", tmp_path / "scripts")
    program = tmp_path / ".venv/bin/ghostpen"
    program.write_text('#!/bin/sh\necho "$1 sees ${CUDA_VISIBLE_DEVICES-all GPUs}"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "0"}
    done = subprocess.run([demo], capture_output=True, text=True, env=environment, timeout=60, check=True)
    first, *verbs = done.stdout.splitlines()
    assert first == "on the CPU (CUDA_VISIBLE_DEVICES is empty)"
    assert verbs == [f"{verb} sees " for verb in ("prepare", "train", "train", "test", "write")]


def test_config_of_the_demo_asks_for_no_gpu() -> None:
    config = load_run_config(ROOT / "configs/tiny.toml")
    assert (config.model.name, config.model.require_gpu) == ("embedded:tiny", False)
    assert f"--out {config.data.dir}" in (ROOT / "scripts/demo").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path",
    [
        "scripts/setup",
        "scripts/demo",
        "scripts/test",
        "scripts/check",
        "scripts/test-image",
        "scripts/test-report",
        "scripts/rehearse-image",
        ".ci/run",
    ],
)
def test_script_is_short_and_executable(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    assert 3 <= len((ROOT / path).read_text(encoding="utf-8").splitlines()) <= 20


def test_requirements_in_says_why_for_each_line() -> None:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]
    assert requirements
    assert [line for line in requirements if not re.fullmatch(r"[\w.=,\[\]-]+ +# \S.*", line)] == []


def test_lock_pins_and_hashes_all_that_is_required() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    required = re.findall(r"^([\w-]+)", (ROOT / "requirements.in").read_text(encoding="utf-8"), re.MULTILINE)
    pinned = re.findall(r"^([\w.-]+)==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", lock, re.MULTILINE)
    assert {name.replace("_", "-") for name in required} <= set(pinned)
    assert len(pinned) == len(re.findall(r"^\w", lock, re.MULTILINE))
    assert "file:" not in lock


def read_tree(readme: str) -> set[str]:
    """Read the folders of the README's tree: a fenced block below a heading with "tree" or "layout" in it.

    One line per folder or file, two blanks of indentation per level, a folder's name ends with "/".
    """
    block = re.search(r"^#+ .*(?:tree|layout).*?^```\w*\n(.*?)^```", readme, re.I | re.M | re.S)
    assert block, 'README.md has no fenced tree below a heading with "tree" or "layout" in it'
    folders, parents = set(), []
    for line in block[1].splitlines():
        entry = re.match(r"( *)([\w./-]+)", line)
        if not entry:
            continue
        depth = len(entry[1]) // 2
        parents = [*parents[:depth], entry[2]]
        if entry[2].endswith("/"):
            folders.add(str(PurePosixPath(*parents)))
    return folders


def test_tree_with_nested_folders_gives_full_paths() -> None:
    readme = "## The tree\n\n```\nsrc/ghostpen/  code\n  cli.py  front door\n  data/  texts\ntests/\n```\n"
    assert read_tree(readme) == {"src/ghostpen", "src/ghostpen/data", "tests"}


def test_readme_tree_is_the_folders() -> None:
    readme = ROOT / "README.md"
    if not (ROOT / ".git").exists():
        pytest.skip(
            "git says which folders are the project's: run it in a clone (git clone), not in an unpacked copy"
        )
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    files = [PurePosixPath(line) for line in listing.stdout.splitlines() if (ROOT / line).exists()]
    folders = {str(folder) for file in files for folder in file.parents} - {"."}
    shown = read_tree(readme.read_text(encoding="utf-8"))
    assert shown <= folders
    top = {folder for folder in folders if "/" not in folder and not folder.startswith(".")}
    packages = {folder for folder in folders if re.fullmatch(r"src/ghostpen/\w+", folder)}
    assert top - {"src"} | packages | {"src/ghostpen"} <= shown


def test_environment_holds_no_account() -> None:
    names = {name for name in os.environ if name.startswith(("AWS_", "HF_", "WANDB_"))}
    assert names == {"HF_HUB_OFFLINE", "WANDB_MODE"}


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80)])
def test_socket_to_another_machine_is_refused(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(AssertionError, match="a test tried to reach"):
        client.connect(address)
    with pytest.raises(AssertionError, match="a test tried to reach"):
        socket.getaddrinfo("example.invalid", 80)


def test_socket_to_this_machine_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass
