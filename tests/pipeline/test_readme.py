"""Every command that the README shows is run as it stands; only the texts and the number of steps are small."""

import re
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pipeline.commands import Commands
from tests.s3_server import make_bucket

pytestmark = pytest.mark.pipeline

ROOT = Path(__file__).parents[2]
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]


def write_texts(archive: str, folder: Path, *, works: int, characters: int) -> None:
    """Cut the beginnings of a few works out of the packed samples."""
    folder.mkdir()
    with zipfile.ZipFile(ROOT / "src/ghostpen/assets/texts" / archive) as packed:
        for name in packed.namelist()[:works]:
            text = packed.read(name).decode()[:characters]
            (folder / f"{Path(name).stem}.txt").write_text(text, encoding="utf-8")


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
    short = {"max_steps": "2", "batch_size": "2", "eval_every": "2", "checkpoint_every": "2", "max_val_bytes": "4000"}
    short |= {"continuations": "2", "topics": "1", "written_words": "10", "extraction_windows": "2"}
    text = config.read_text(encoding="utf-8")
    for key, value in short.items():
        text, found = re.subn(rf"^{key} = [^#\n]*", f"{key} = {value}  ", text, flags=re.MULTILINE)
        assert found == 1, key
    config.write_text(text, encoding="utf-8")
    verbs = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "make":
            continue
        assert program == "ghostpen", command
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
    shown = [command.split()[1] for command in COMMANDS if command.startswith("make ")]
    assert shown == ["demo", "test"]
    assert set(shown) <= set(targets)


def test_demo_runs_the_readme_verbs() -> None:
    script = (ROOT / "scripts/demo").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [shlex.split(line) for line in script.splitlines() if line.startswith("ghostpen ")]
    assert [line[1] for line in lines] == ["prepare", "train", "train", "test", "write"]
    shown = {shlex.split(command)[1] for command in COMMANDS if command.startswith("ghostpen ")}
    assert {line[1] for line in lines} <= shown
