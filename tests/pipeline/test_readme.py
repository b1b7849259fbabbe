"""Every command that the README shows is run as it stands; only the texts and the number of steps are small."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documents import ROOT, read_blocks, shorten_config, take_blocks, write_texts
from tests.pipeline.commands import Commands
from tests.s3_server import make_bucket

pytestmark = pytest.mark.pipeline

COMMANDS = [words for block in take_blocks(__file__, "README.md") for words in block.runnable]
MAKE = [line.split()[1] for block in read_blocks("README.md") for line in block.lines if line.startswith("make ")]


@pytest.fixture
def bucket(aws_variables: dict[str, str]) -> Iterator[str]:
    with make_bucket(aws_variables["AWS_ENDPOINT_URL"], "readme") as made:
        yield made.name


def test_readme_commands_run_as_they_stand(
    tmp_path: Path, commands: Commands, aws_variables: dict[str, str], bucket: str
) -> None:
    place = {"BUCKET": bucket, "PREFIX": "some/where"}
    write_texts("austen.zip", tmp_path / "my-texts", works=6, characters=12_000)
    write_texts("contrast.zip", tmp_path / "texts-of-others", works=12, characters=8_000)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    config = tmp_path / "configs/tiny.toml"
    config.write_text(shorten_config(config.read_text(encoding="utf-8")), encoding="utf-8")
    verbs = []
    for program, *arguments in COMMANDS:
        assert program == "ghostpen"
        arguments = [re.sub(r"BUCKET|PREFIX|RUN_ID", lambda match: place[match[0]], part) for part in arguments]
        done = commands.succeed(*arguments, folder=tmp_path, environment=aws_variables)
        if said := re.match(r"run ([a-z0-9-]+)", done.stdout):
            place["RUN_ID"] = said[1]
        verbs.append(arguments[0])
    assert verbs == ["prepare", "train", "train", "test", "write", "inspect", "data", "run", "run", "pull"]
    assert (tmp_path / "runs" / place["RUN_ID"] / "report.json").is_file()
    assert (tmp_path / "runs/mine/specificity.png").read_bytes().startswith(b"\x89PNG")


def test_readme_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert MAKE == ["demo", "test"]
    assert set(MAKE) <= set(targets)


def test_demo_runs_the_readme_verbs() -> None:
    script = (ROOT / "scripts/demo").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [shlex.split(line) for line in script.splitlines() if line.startswith("ghostpen ")]
    assert [line[1] for line in lines] == ["prepare", "train", "train", "test", "write"]
    assert {line[1] for line in lines} <= {verb for _, verb, *_ in COMMANDS}
