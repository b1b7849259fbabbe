import json
import os
import stat
from pathlib import Path

import pytest
from tests.s3_server import FAKE_CREDENTIALS, serve_s3
from typer.testing import CliRunner

from ghostpen.cli import app
from ghostpen.doctor import Finding, examine, examine_gpu, examine_wandb, find_version, render_findings
from ghostpen.training.wandb_process import choose_mode


def put_program(folder: Path, name: str, script: str) -> dict[str, str]:
    """Put a program in front of the PATH."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return dict(os.environ, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}", CUDA_VISIBLE_DEVICES="")


def test_machine_is_examined_without_a_key_or_a_name_in_it(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": "", "WANDB_API_KEY": "canary5ec4e7", "HF_TOKEN": "canary5ec4e7"}
    findings = {finding.name: finding for finding in examine(environ=environ, folder=tmp_path)}
    assert findings["Python"].there
    assert findings["training packages"].there and "unsloth " in findings["training packages"].found
    assert findings["Weights & Biases"].there
    assert not any("canary" in str(finding) for finding in findings.values())


def test_package_that_is_not_there_has_no_version() -> None:
    assert find_version("no-such-package-of-ours") is None


@pytest.mark.parametrize("script", ["exit 9", "kill -9 $$"])
def test_gpu_without_a_driver_that_answers_is_none(tmp_path: Path, script: str) -> None:
    found = examine_gpu(put_program(tmp_path, "nvidia-smi", script))
    assert (found.there, found.found) == (False, "none")


def test_gpu_that_torch_does_not_see_says_so(tmp_path: Path) -> None:
    found = examine_gpu(put_program(tmp_path, "nvidia-smi", "echo 'NVIDIA L40S, 46068 MiB, 570.1'"))
    assert found.found == "NVIDIA L40S, 46068 MiB, 570.1"
    assert found.there is False and "torch sees none of them" in found.to_do


@pytest.mark.parametrize(
    ("environ", "online"),
    [
        ({}, False),
        ({"WANDB_API_KEY": "canary5ec4e7"}, True),
        ({"WANDB_API_KEY": "canary5ec4e7", "WANDB_MODE": "offline"}, False),
    ],
)
def test_wandb_is_there_where_a_training_would_send_to_it(environ: dict[str, str], online: bool) -> None:
    found = examine_wandb(environ)
    assert found.there is online is (choose_mode(environ) == "online")
    assert bool(found.to_do) is not online and "canary" not in str(found)


def test_torch_that_can_t_be_loaded_is_not_a_gpu_that_is_hidden(tmp_path: Path) -> None:
    environ = put_program(tmp_path, "nvidia-smi", "echo 'NVIDIA L40S, 46068 MiB, 570.1'")
    (tmp_path / "torch.py").write_text("raise ImportError")
    found = examine_gpu(environ | {"PYTHONPATH": str(tmp_path)})
    assert found.there is False and "torch can't be loaded" in found.to_do


def test_doctor_shows_who_aws_takes_it_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_s3() as url:
        for name, value in (FAKE_CREDENTIALS | {"AWS_ENDPOINT_URL": url}).items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert findings["AWS identity"]["there"] and findings["AWS identity"]["found"].startswith("arn:aws:")


def test_doctor_without_credentials_says_how_to_sign_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = CliRunner().invoke(app, ["doctor", "--json"])
    [aws] = [finding for finding in json.loads(done.stdout) if finding["name"] == "AWS identity"]
    assert aws["there"] is False and "aws sso login" in aws["to_do"]


def test_offline_doctor_asks_aws_nothing() -> None:
    done = CliRunner().invoke(app, ["doctor", "--offline"])
    assert done.exit_code == 0
    assert "AWS identity" not in done.stdout and "disk" in done.stdout
    assert "\x1b[" not in done.stdout


def test_findings_show_what_to_do() -> None:
    table = render_findings([Finding("GPU", False, "none", "train", "no driver")])
    assert table.row_count == 1
