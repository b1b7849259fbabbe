import json
import subprocess
import sys
from pathlib import Path

import pytest

from ghostpen.errors import ModelError
from ghostpen.model.location import resolve_model


def write_model(folder: Path, *, config: str | None = '{"model_type": "gpt_oss"}', weights: bool = True) -> Path:
    folder.mkdir()
    if config is not None:
        (folder / "config.json").write_text(config)
    if weights:
        (folder / "model.safetensors").touch()
    return folder


def test_resolve_embedded_model_is_a_folder_with_a_gpt_oss() -> None:
    folder = Path(resolve_model("embedded:tiny"))

    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == "gpt_oss"


def test_resolve_folder_gives_it_back(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")

    assert resolve_model(str(folder)) == str(folder)


def test_resolve_folder_below_home_gives_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_model(tmp_path / "model")

    assert resolve_model("~/model") == str(tmp_path / "model")


def test_resolve_hub_id_gives_it_back() -> None:
    assert resolve_model("unsloth/gpt-oss-20b") == "unsloth/gpt-oss-20b"


@pytest.mark.parametrize(
    "name", ["./missing", "/missing", "~/missing", "a/b/c", "gpt-oss-20b", "config.json", "sub/config.json"]
)
def test_resolve_path_without_a_model_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    write_model(tmp_path / "sub")

    with pytest.raises(ModelError) as caught:
        resolve_model(name)
    assert caught.value.message == (
        f"{name} is no folder with a model in it; set model.name to a folder, a hub id (owner/name) or embedded:tiny"
    )


def test_resolve_unknown_embedded_model_names_the_known_ones() -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model("embedded:large")
    assert caught.value.message == ("embedded:large is no embedded model; set model.name to one of: embedded:tiny")


@pytest.mark.parametrize(
    ("config", "weights", "message"),
    [
        (None, True, "holds no config.json; set model.name to the folder that a model was saved to"),
        ('{"model_type": "gpt_oss"', True, "config.json is not valid JSON"),
        ("[]", True, "config.json is not valid JSON"),
        ('{"model_type": "llama"}', True, 'says model_type "llama", and ghostpen adapts gpt_oss'),
        ("{}", True, 'says model_type "None", and ghostpen adapts gpt_oss'),
        ('{"model_type": "gpt_oss"}', False, "holds no *.safetensors weights; copy the model again"),
    ],
    ids=["no config", "torn", "list", "llama", "no type", "no weights"],
)
def test_resolve_folder_that_is_no_gpt_oss_says_why(
    tmp_path: Path, config: str | None, weights: bool, message: str
) -> None:
    folder = write_model(tmp_path / "model", config=config, weights=weights)

    with pytest.raises(ModelError) as caught:
        resolve_model(str(folder))
    assert caught.value.message.startswith(str(folder))
    assert message in caught.value.message


def test_resolve_folder_for_its_description_needs_no_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", weights=False)

    assert resolve_model(str(folder), needs_weights=False) == str(folder)


def test_location_loads_no_torch() -> None:
    code = "import sys, ghostpen.model.location; print(*{'torch', 'transformers'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
