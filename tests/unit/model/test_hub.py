"""inspect of a model on the hub, in a process of its own: the client library reads its settings once, on import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documents import ROOT, take_blocks
from tests.headers import GPT_OSS_20B, list_gpt_oss_20b, write_header, write_index
from tests.s3_server import FAKE_CREDENTIALS, make_bucket, serve_s3
from tests.stand_ins.hub import Hub

pytestmark = pytest.mark.slow


def run_beside(hub: Hub, home: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return run_python(hub, home, "-m", "ghostpen", *words, **environ)


def run_python(hub: Hub, home: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    with hub.serve() as address:
        environment = os.environ | {
            "HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(home), "CUDA_VISIBLE_DEVICES": "",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        } | environ  # fmt: skip
        command = [sys.executable, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, cwd=ROOT)


def inspect_from(hub: Hub, name: str, home: Path, *settings: str) -> "subprocess.CompletedProcess[str]":
    options = [part for setting in settings for part in ("--set", setting)]
    return run_beside(hub, home, "inspect", name, "--json", *options)


def test_commands_of_the_gpu_page_run_as_they_stand(tmp_path: Path) -> None:
    """On the profile's own checkpoint: for 24 GB that is the one in NF4, on the hub and in S3."""
    (block,) = take_blocks(__file__, "docs/gpu.md")
    path = tmp_path / "written"
    write_index(path, list_gpt_oss_20b("split"))
    files = {"config.json": json.dumps(GPT_OSS_20B).encode(), "model.safetensors.index.json": path.read_bytes()}
    hub = Hub("unsloth/gpt-oss-20b-unsloth-bnb-4bit", files)
    told = []
    with serve_s3() as url, make_bucket(url, "models") as bucket:
        for name, content in files.items():
            bucket.put_object(Key=f"my/base/{name}", Body=content)
        for program, *words in block.runnable:
            assert program == "ghostpen"
            place = [word.replace("BUCKET", bucket.name).replace("PREFIX", "my/base") for word in words]
            done = run_beside(hub, tmp_path, *place, AWS_ENDPOINT_URL=url, **FAKE_CREDENTIALS)
            assert (done.returncode, done.stderr) == (0, ""), words
            told.append(done.stdout)

    assert "fits 24.0 GB with a tenth of it left free" in " ".join(told[0].split())
    assert (json.loads(told[1])["name"], json.loads(told[1])["expert_layout"]) == ("s3://models/my/base", "split")


@pytest.mark.parametrize(
    ("name", "layout", "index"),
    [
        ("unsloth/gpt-oss-20b", "mxfp4", True),
        ("somebody/gpt-oss-20b", "bf16", False),
    ],
)
def test_inspect_from_the_hub_fetches_no_weight(tmp_path: Path, name: str, layout: str, index: bool) -> None:
    path = tmp_path / "written"
    (write_index if index else write_header)(path, list_gpt_oss_20b(layout))
    weights = "model.safetensors.index.json" if index else "model.safetensors"
    content = path.read_bytes() + (b"" if index else b"w" * 10_000_000)
    hub = Hub(name, {"config.json": json.dumps(GPT_OSS_20B).encode(), weights: content})
    done = inspect_from(hub, name, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["checkpoint"]["experts"] == {"mxfp4": "mxfp4", "bf16": "16 bit"}[layout]
    assert (told["name"], told["loading"]["name"]) == (name, name)
    assert {file for file, _ in hub.fetched} == {"config.json", weights}
    assert sum(sent for _, sent in hub.fetched) < 500_000


def test_inspect_in_4_bits_reads_the_checkpoint_that_unsloth_would_load(tmp_path: Path) -> None:
    path = tmp_path / "written"
    write_index(path, list_gpt_oss_20b("split"))
    files = {"config.json": json.dumps(GPT_OSS_20B).encode(), "model.safetensors.index.json": path.read_bytes()}
    hub = Hub("unsloth/gpt-oss-20b-unsloth-bnb-4bit", files)
    done = inspect_from(hub, "unsloth/gpt-oss-20b", tmp_path, "model.load_in_4bit=true")

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["name"], told["loading"]["name"]) == ("unsloth/gpt-oss-20b", hub.repository)
    assert (told["expert_layout"], told["target_parameters"]) == ("split", [])


def test_inspect_of_a_model_that_is_not_on_the_hub_is_one_line(tmp_path: Path) -> None:
    done = inspect_from(Hub("somebody/else", {}), "nobody/nothing", tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: nobody/nothing could not be read: ")
    assert done.stderr.count("\n") == 1


def test_inspect_of_a_hub_model_without_weights_is_one_line(tmp_path: Path) -> None:
    hub = Hub("somebody/empty", {"config.json": json.dumps(GPT_OSS_20B).encode()})
    done = inspect_from(hub, hub.repository, tmp_path)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: somebody/empty could not be read: ")
    assert done.stderr.count("\n") == 1


LOAD = """
from ghostpen.config import ModelConfig
from ghostpen.errors import ModelError
from ghostpen.model.loading import load_base

try:
    load_base(ModelConfig(name="somebody/packed-gpt-oss", require_gpu=False), max_length=64)
except ModelError as error:
    print(error.message)
"""
READ = """
from ghostpen.model.checkpoint import read_checkpoint

print(read_checkpoint("somebody/gpt-oss-20b").experts)
"""


def test_split_checkpoint_on_the_hub_in_a_mode_that_leaves_it_random_is_refused_before_a_weight(
    tmp_path: Path,
) -> None:
    path = tmp_path / "written"
    write_index(path, list_gpt_oss_20b("split"))
    files = {"config.json": json.dumps(GPT_OSS_20B).encode(), "model.safetensors.index.json": path.read_bytes()}
    hub = Hub("somebody/packed-gpt-oss", files)
    done = run_python(hub, tmp_path, "-c", LOAD)

    assert "somebody/packed-gpt-oss is a bitsandbytes 4-bit checkpoint" in done.stdout, done.stderr
    assert "experts and routers would be left random" in done.stdout
    assert [name for name, _ in hub.fetched] == ["model.safetensors.index.json"]


def test_single_file_that_was_fetched_before_is_read_without_the_hub(tmp_path: Path) -> None:
    path = tmp_path / "written"
    write_header(path, list_gpt_oss_20b("bf16"))
    hub = Hub("somebody/gpt-oss-20b", {"model.safetensors": path.read_bytes()})
    fetch = "import huggingface_hub as hub; hub.hf_hub_download('somebody/gpt-oss-20b', 'model.safetensors')"
    assert run_python(hub, tmp_path, "-c", fetch).returncode == 0
    done = run_python(hub, tmp_path, "-c", READ, HF_HUB_OFFLINE="1")

    assert (done.returncode, done.stdout) == (0, "16 bit\n"), done.stderr
