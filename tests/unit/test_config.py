"""Settings: what is read, what is refused, and that each refusal names its key in one line."""

import json
import os
import runpy
from pathlib import Path

import pytest
from pydantic import ValidationError

from ghostpen.config import (
    EvalConfig,
    LoraConfig,
    RunConfig,
    check_run_id,
    find_newest_run,
    load_run_config,
    load_saved_config,
    parse_run_config,
    select_decisive,
)
from ghostpen.errors import ConfigError

ROOT = Path(__file__).parents[2]
SMALLEST = """
name = "austen"
[data]
dir = "data/austen"
[model]
name = "embedded:tiny"
[train]
max_steps = 10
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(SMALLEST, encoding="utf-8")
    return path


def test_load_smallest_file_has_defaults(config_file: Path) -> None:
    config = load_run_config(config_file)
    assert config.data.dir == Path("data/austen")
    assert config.train.max_steps == 10
    assert (config.lora.rank, config.lora.matrix_rank, config.lora.scale_alpha) == (None, 16, 32.0)
    assert config.eval.stride == 256
    assert config.run_dir == Path("runs/austen")


def test_load_file_with_byte_order_mark_is_read(config_file: Path) -> None:
    config_file.write_text(SMALLEST, encoding="utf-8-sig")
    assert load_run_config(config_file).name == "austen"


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("train.max_steps=20", lambda config: config.train.max_steps == 20),
        ("train.learning_rate=1e-3", lambda config: config.train.learning_rate == 0.001),
        ("train.learning_rate=1", lambda config: config.train.learning_rate == 1.0),
        ("lora.experts=false", lambda config: config.lora.experts is False),
        ("lora.layers=[0, 2]", lambda config: config.lora.layers == (0, 2)),
        ("data.dir=other/texts", lambda config: config.data.dir == Path("other/texts")),
        ('data.dir="other/texts"', lambda config: config.data.dir == Path("other/texts")),
        ("name=second-try", lambda config: config.name == "second-try"),
        (" eval.window = 1024 ", lambda config: config.eval.window == 1024),
        ("model.name=a=b", lambda config: config.model.name == "a=b"),
        # Not a second TOML line: the whole text is the value.
        ('model.name="a"\nother = 1', lambda config: config.model.name == '"a"\nother = 1'),
    ],
)
def test_load_with_override_takes_its_value(config_file: Path, override: str, read) -> None:
    assert read(load_run_config(config_file, [override]))


def test_load_with_two_overrides_of_a_key_takes_the_last(config_file: Path) -> None:
    assert load_run_config(config_file, ["lora.rank=4", "lora.rank=8"]).lora.rank == 8


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.learning_rat=1", "train.learning_rat is not a setting; did you mean train.learning_rate?"),
        ("trian.max_steps=1", "trian is not a setting; did you mean train?"),
        ("lora.zzzzzzz=1", "lora.zzzzzzz is not a setting; [lora] has: rank, alpha, attention"),
        ("train.max_steps=ten", 'train.max_steps should be a valid integer, but is "ten"'),
        ("train.max_steps=1.5", "train.max_steps should be a valid integer, but is 1.5"),
        ("train.max_steps=true", "train.max_steps should be a valid integer, but is true"),
        ("train.max_steps=0", "train.max_steps should be greater than or equal to 1, but is 0"),
        ("lora.rank=0", "lora.rank should be greater than or equal to 1, but is 0"),
        ("lora.router=1", "lora.router should be a valid boolean, but is 1"),
        ("lora.layers=3", "lora.layers must be a list of numbers, such as [0, 1], but is 3"),
        ("lora.layers=[-1]", "lora.layers should be greater than or equal to 0, but is -1"),
        ("lora.layers=[true]", "lora.layers should be a valid integer, but is true"),
        ("lora.layers=[1, 1]", "lora.layers [1, 1] names a layer twice"),
        ("lora.layers=[]", "lora.layers is empty"),
        ("train.learning_rate=nan", "train.learning_rate should be a finite number, but is nan"),
        ("train.learning_rate=-1", "train.learning_rate should be greater than 0, but is -1"),
        ("model.precision=fp8", "model.precision should be 'float32' or 'bfloat16', but is \"fp8\""),
        ("data.dir=3", "data.dir must be a path in quotes, but is 3"),
        ("data.sequence_length=16", "data.sequence_length should be greater than or equal to 32, but is 16"),
        ("data.brief_share=1.1", "data.brief_share should be less than or equal to 1, but is 1.1"),
        ("eval.stride=513", "eval.stride (513) is larger than eval.window (512)"),
        ("name=Jane Austen", 'name is "Jane Austen": use only a-z, 0-9 and hyphens'),
        ("name=../up", 'name is "../up": use only a-z, 0-9 and hyphens'),
        ("train=3", "train must be a section: write [train] and its settings below it"),
        ("train.max_steps", '--set "train.max_steps": write section.key=value'),
        ("a.b.c=1", '--set "a.b.c=1": write section.key=value'),
        ("=1", '--set "=1": write section.key=value'),
        ("name.first=1", '--set "name.first=1": name is a single setting, not a section'),
    ],
)
def test_load_with_wrong_override_names_the_key_in_one_line(config_file: Path, override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run_config(config_file, [override])
    assert expected in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [
        ('dir = "data/austen"', "data.dir is missing: The folder that `ghostpen prepare` wrote."),
        ('[data]\ndir = "data/austen"', "data.dir is missing"),
        ('name = "embedded:tiny"', "model.name is missing: The base model"),
        ('name = "austen"', "name is missing: The run's folder under output.dir"),
    ],
)
def test_load_without_a_needed_setting_says_what_it_is_for(config_file: Path, left_out: str, expected: str) -> None:
    assert left_out in SMALLEST
    config_file.write_text(SMALLEST.replace(left_out, ""), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_run_config(config_file)
    assert expected in caught.value.message
    assert str(config_file) in caught.value.message


def test_load_with_mistakes_says_which_came_from_where(config_file: Path) -> None:
    config_file.write_text(SMALLEST.replace("max_steps = 10", "max_steps = 0"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_run_config(config_file, ["lora.rank=0"])
    from_override, from_file = caught.value.message.split("; ")
    assert from_override.startswith("--set lora.rank: lora.rank ")
    assert from_file.startswith(f"{config_file}: train.max_steps ")


def test_load_with_two_mistakes_names_both(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"lora\.rank.*; .*train\.seed"):
        load_run_config(config_file, ["lora.rank=0", "train.seed=-1"])


def test_load_without_any_target_is_refused(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="are all false: nothing would be trained"):
        load_run_config(config_file, ["lora.attention=false", "lora.experts=false"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"name = ", "is not valid TOML: Invalid value (at end of document)"),
        (b"name = 'caf\xe9'", "is not UTF-8 text"),
    ],
)
def test_load_unreadable_content_names_the_file(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_run_config(path)
    assert caught.value.message.startswith(f"{path}: {expected}")


def test_load_missing_file_or_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file"):
        load_run_config(tmp_path / "run.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        load_run_config(tmp_path)


def test_config_after_loading_is_frozen(config_file: Path) -> None:
    config = load_run_config(config_file)
    with pytest.raises(ValidationError, match="frozen"):
        config.lora.rank = 4  # type: ignore[misc]


def test_alpha_not_set_is_twice_the_rank() -> None:
    assert LoraConfig(rank=8).scale_alpha == 16.0
    assert LoraConfig(rank=8, alpha=4).scale_alpha == 4.0


def test_stride_equal_to_window_is_allowed() -> None:
    assert EvalConfig(window=64, stride=64).stride == 64


def test_saved_config_is_the_one_that_ran(config_file: Path, tmp_path: Path) -> None:
    config = load_run_config(config_file, ["lora.layers=[1, 3]", "train.learning_rate=0.003"])
    (tmp_path / "manifest.json").write_text(json.dumps({"config": config.model_dump(mode="json")}))
    assert load_saved_config(tmp_path) == config


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (None, "not there"),
        ("{", "is not a JSON file"),
        ("[]", 'has no "config"'),
        ('{"config": {}}', "name is missing"),
    ],
)
def test_saved_config_that_is_no_config_names_the_file(tmp_path: Path, manifest: str | None, expected: str) -> None:
    path = tmp_path / "manifest.json"
    if manifest is not None:
        path.write_text(manifest)
    with pytest.raises(ConfigError) as caught:
        load_saved_config(tmp_path)
    assert caught.value.message.startswith(f"{path}: {expected}")


def test_newest_run_is_the_one_whose_manifest_was_written_last(tmp_path: Path) -> None:
    for name, written_s in (("old", 100), ("new", 300), ("middle", 200)):
        manifest = tmp_path / name / "manifest.json"
        manifest.parent.mkdir()
        manifest.write_text("{}", encoding="utf-8")
        os.utime(manifest, (written_s, written_s))
    (tmp_path / "no-run").mkdir()
    assert find_newest_run(tmp_path) == tmp_path / "new"


def test_steps_and_epochs_together_are_refused(config_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.max_steps and train\.epochs both say how long"):
        load_run_config(config_file, ["train.epochs=2"])


def test_every_setting_has_a_text() -> None:
    sections = [field.annotation for name, field in RunConfig.model_fields.items() if name != "name"]
    settings = {
        f"{section.__name__}.{key}": field.description
        for section in sections
        for key, field in section.model_fields.items()
    }
    assert settings.keys() >= {"DataConfig.dir", "OutputConfig.dir"}
    assert [key for key, text in settings.items() if not text] == []


def test_content_from_elsewhere_is_read_as_a_file_is(config_file: Path) -> None:
    content = config_file.read_bytes()
    assert parse_run_config(content, ["lora.rank=4"], where="s3://b/run.toml") == load_run_config(
        config_file, ["lora.rank=4"]
    )
    with pytest.raises(ConfigError, match="^s3://b/run.toml: is not valid TOML"):
        parse_run_config(b"name = ", where="s3://b/run.toml")
    with pytest.raises(ConfigError, match="^s3://b/run.toml: is not UTF-8 text"):
        parse_run_config(b"name = '\xe9'", where="s3://b/run.toml")


@pytest.mark.parametrize("run_id", ["", "A", "a_b", "a" * 65, "a\n", "../a"])
def test_run_id_that_no_place_takes_is_refused(run_id: str) -> None:
    with pytest.raises(ConfigError, match="^--run-id is "):
        check_run_id(run_id)


def test_decisive_settings_leave_places_out() -> None:
    settings = {"name": "a", "tracking": {}, "storage": {}, "output": {}, "data": {"dir": "d", "continue_share": 0.5}}
    assert select_decisive(settings) == {"name": "a", "data": {"continue_share": 0.5}, "eval": {}}


def test_decisive_settings_leave_out_what_only_says_when_a_test_fails() -> None:
    settings = {"name": "a", "eval": {"window": 64, "max_copied_words": 13}}
    assert select_decisive(settings) == {"name": "a", "data": {}, "eval": {"window": 64}}


@pytest.mark.parametrize("uri", ["bucket/prefix", "s3://", "s3://A/b", "https://s3.amazonaws.com/b"])
def test_storage_that_is_no_place_in_s3_is_refused(config_file: Path, uri: str) -> None:
    with pytest.raises(ConfigError, match=rf'^--set storage.uri: storage.uri is "{uri}": write s3://BUCKET/PREFIX$'):
        load_run_config(config_file, [f"storage.uri={uri}"])


def test_page_shows_every_setting_as_the_config_has_it() -> None:
    tool = runpy.run_path(str(ROOT / "tools/settings_table.py"))
    page = (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert tool["replace_table"](page) == page, "run .venv/bin/python tools/settings_table.py"
    assert "| `lora.rank` | `None` | Rank of every adapter matrix; None is chosen by the amount of text. |" in page
    assert "| `data.dir` | **must be set** |" in page
