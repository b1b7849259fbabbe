import hashlib
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ghostpen.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from ghostpen.errors import ConfigError
from ghostpen.model.architecture import TargetPlan
from ghostpen.training.checkpoints import seal_checkpoint
from ghostpen.training.manifest import (
    PACKAGES,
    build_manifest,
    check_same_base,
    describe_base,
    read_git_commit,
    read_manifest,
    write_manifest,
)
from ghostpen.training.recipe import build_recipe

CONFIG = RunConfig(
    name="austen",
    data=DataConfig(dir=Path("data/austen")),
    model=ModelConfig(name="embedded:tiny"),
    train=TrainConfig(max_steps=10, seed=7),
)
PLAN = TargetPlan(
    rank=2,
    alpha=4.0,
    targets=(),
    target_modules=("q_proj",),
    target_parameters=("mlp.experts.down_proj",),
    expert_layout="fused",
    trainable={"attention.q_proj": 30, "experts.down_proj": 12},
)


def build() -> dict[str, Any]:
    return build_manifest(
        CONFIG,
        recipe=build_recipe(CONFIG, words=1000, samples=8),
        run_id="austen-1",
        role="author",
        data_sha256="ab" * 32,
        author="Jane Austen",
        base={"name": "embedded:tiny", "weights_sha256": "cd" * 32},
        device="cpu",
        processes=1,
        plan=PLAN,
    )


def test_manifest_says_what_was_trained_on_what() -> None:
    manifest = build()

    assert (manifest["run_id"], manifest["role"], manifest["author"]) == ("austen-1", "author", "Jane Austen")
    assert (manifest["finished"], manifest["seed"], manifest["device"]) == (False, 7, "cpu")
    assert manifest["targets"]["trainable"] == PLAN.trainable
    assert manifest["targets"]["trainable_total"] == 42
    assert RunConfig.model_validate(manifest["config"]) == CONFIG
    assert set(manifest["package_versions"]) == set(PACKAGES)
    assert all(re.match(r"\d+\.\d+", number) for number in manifest["package_versions"].values())


def test_manifest_holds_these_facts_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"WANDB_API_KEY": "wandb-3d1f", "HF_TOKEN": "hf-3d1f", "AWS_SECRET_ACCESS_KEY": "aws-3d1f"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    manifest = build()

    assert "3d1f" not in json.dumps(manifest)
    # A closed list: who adds a fact decides here that it is neither private text nor a secret.
    assert set(manifest) == {
        "format_version", "run_id", "role", "author", "finished", "stopped", "config", "recipe", "data_sha256",
        "pairs_sha256", "base_model", "device", "processes", "seed", "ghostpen_version", "git_commit",
        "package_versions", "targets",
    }  # fmt: skip


def test_manifest_written_and_read_is_the_same(tmp_path: Path) -> None:
    manifest = build() | {"finished": True, "author": "Anne Brontë"}
    write_manifest(manifest, tmp_path)

    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_read_manifest_where_there_is_none_is_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format_version": 99}', "not of this version"),
        (b"[]", "not of this version"),
        (b'{"format_version": 2', "is not JSON"),
        (b"\xff", "is not JSON"),
    ],
)
def test_read_manifest_of_another_kind_says_what_to_do(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "manifest.json").write_bytes(content)

    with pytest.raises(ConfigError, match=rf"manifest\.json .*{message}.*; delete .* and train again") as caught:
        read_manifest(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_read_manifest_that_is_empty_does_not_have_whole_checkpoints_deleted(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    checkpoint = tmp_path / "checkpoints/checkpoint-20"
    checkpoint.mkdir(parents=True)
    seal_checkpoint(checkpoint, progress={})

    with pytest.raises(ConfigError, match=r"manifest\.json is not JSON .*--set output\.dir=.*--resume") as caught:
        read_manifest(tmp_path)
    assert f"{checkpoint} is whole" in caught.value.message
    assert "delete" not in caught.value.message


def test_describe_base_in_a_folder_hashes_all_weights_in_order(tmp_path: Path) -> None:
    (tmp_path / "model-2.safetensors").write_bytes(b"two")
    (tmp_path / "model-1.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_bytes(b"{}")

    described = describe_base(str(tmp_path), None, name="embedded:tiny")

    assert described == {"name": "embedded:tiny", "weights_sha256": hashlib.sha256(b"onetwo").hexdigest()}


def test_describe_base_from_the_hub_names_the_commit_and_whose_it_is() -> None:
    model = SimpleNamespace(config=SimpleNamespace(_commit_hash="0123abc"))

    described = describe_base("unsloth/gpt-oss-20b", model, name="openai/gpt-oss-20b")

    assert described == {
        "name": "openai/gpt-oss-20b",
        "loaded_name": "unsloth/gpt-oss-20b",
        "revision": "0123abc",
    }


HUB = {"name": "my/gpt-oss", "loaded_name": "my/gpt-oss", "revision": "c0"}
FOLDER = {"name": "base", "weights_sha256": "ab"}


def test_base_that_a_run_began_with_is_the_same() -> None:
    assert check_same_base(HUB, dict(HUB), folder=Path("runs/mine")) is None
    assert check_same_base(FOLDER, dict(FOLDER), folder=Path("runs/mine")) is None


@pytest.mark.parametrize(
    ("base", "said"),
    [
        (HUB | {"loaded_name": "unsloth/gpt-oss-20b"}, "its loaded_name was my/gpt-oss, .* is unsloth/gpt-oss-20b"),
        ({"name": "my/gpt-oss", "weights_sha256": "ab"}, "its weights_sha256 was None, .* is ab"),
    ],
)
def test_base_of_other_weights_than_a_run_began_with_is_refused(base: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"the run in runs/mine began with another base model: {said}; put"):
        check_same_base(HUB, base, folder=Path("runs/mine"))


def test_base_at_another_commit_is_told() -> None:
    assert check_same_base(HUB, HUB | {"revision": "c1"}, folder=Path("runs/mine")) == (
        "my/gpt-oss is at commit c1 now, and the run began with c0"
    )


def test_read_git_commit_in_an_image_is_the_one_it_was_built_from() -> None:
    assert read_git_commit({"GHOSTPEN_REVISION": "0123abc"}) == "0123abc"


def test_read_git_commit_is_a_commit_or_none() -> None:
    commit = read_git_commit({"GHOSTPEN_REVISION": ""})  # an image that was built without one

    assert commit is None or re.fullmatch(r"[0-9a-f]{40}", commit)
