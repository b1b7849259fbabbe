"""The scripts that workflows call, as a person calls them."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.documents import take_blocks
from tests.workflows.act import ROOT, Repository

SDKS = (
    "/usr/local/lib/android /usr/share/dotnet /usr/share/swift /opt/ghc /usr/local/.ghcup /opt/hostedtoolcache/CodeQL"
)


def run_script(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts" / name), *arguments]
    environment = {"PATH": os.environ["PATH"]} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def write_sudo(folder: Path) -> str:
    """Write a sudo that notes what it is asked for and does not do it; return a PATH with it in front."""
    sudo = folder / "sudo"
    sudo.write_text(f'#!/bin/sh\necho "$@" >>{folder}/asked\n', encoding="utf-8")
    sudo.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_require_settings_where_all_are_set_says_nothing() -> None:
    done = run_script("require-settings", "ONE=the first", "TWO=the second", ONE="1", TWO="a b")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_require_settings_names_what_is_unset_or_empty_with_its_purpose() -> None:
    done = run_script("require-settings", "ONE=the first", "TWO=1 + 1 = 2", "THREE=third", ONE="", THREE="3")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: not set: ONE (the first); TWO (1 + 1 = 2); set them in ")
    assert len(done.stderr.splitlines()) == 1


def test_free_disk_on_a_machine_that_is_not_githubs_deletes_nothing(tmp_path: Path) -> None:
    path = write_sudo(tmp_path)

    for environment in ({}, {"RUNNER_ENVIRONMENT": "self-hosted"}):
        done = run_script("free-disk", PATH=path, **environment)
        assert done.returncode == 0
        assert "not a runner of GitHub's: nothing deleted" in done.stdout
    assert not (tmp_path / "asked").exists()


def test_free_disk_on_a_runner_of_githubs_deletes_the_sdks_alone(tmp_path: Path) -> None:
    done = run_script("free-disk", PATH=write_sudo(tmp_path), RUNNER_ENVIRONMENT="github-hosted")

    assert done.returncode == 0
    assert (tmp_path / "asked").read_text(encoding="utf-8") == f"rm -rf {SDKS}\n"


def test_build_image_names_the_commit_and_says_what_is_not_committed(
    make_repository: Callable[[], Repository],
) -> None:
    repository = make_repository()
    version = repository.checkout / "src/ghostpen/__init__.py"
    version.write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    commit = repository.make_commit()

    repository.run_script("build-image", "--tag", "ghostpen", "--load")
    (repository.checkout / "docker/Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    repository.run_script("build-image", "--tag", "ghostpen", "--load")

    labels = [
        [call[at + 1] for at, argument in enumerate(call) if argument == "--build-arg"]
        for call in repository.read_docker_calls()
    ]
    assert labels == [
        [f"REVISION={commit}", "VERSION=1.2.3", "SOURCE="],
        [f"REVISION={commit}-dirty", "VERSION=1.2.3", "SOURCE="],
    ]


def test_commands_of_the_page_on_releases_build_an_image_and_test_it(
    make_repository: Callable[[], Repository],
) -> None:
    (block,) = take_blocks(__file__, "docs/release.md")
    repository = make_repository()

    for program, *arguments in block.runnable:
        repository.run_script(program.removeprefix("scripts/"), *arguments)

    assert [call[:2] for call in repository.read_docker_calls()] == [
        ["buildx", "build"],
        ["run", "--rm"],
        ["run", "--rm"],
    ]
    assert {path.name for path in (repository.docker / "run").iterdir()} == {"ghostpen", "ghostpen as root"}
