"""Every block of docs/tutorial.md is run as it stands; and what docs/storage.md does with a run, on the tutorial's.

The texts are small, the trainings take 2 steps; in the simulated account the container holds a program, no model.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.documents import ROOT, Block, read_blocks, shorten_config, take_blocks, write_texts
from tests.pipeline.commands import Commands
from tests.place import Place, serve_account
from tests.s3_server import make_bucket

from ghostpen.aws.bundle import push_bundle
from ghostpen.aws.s3 import ObjectStore, make_client, parse_location
from ghostpen.config import parse_run_config

pytestmark = pytest.mark.pipeline

BLOCKS = take_blocks(__file__, "docs/tutorial.md")
# Those of an account: from `ghostpen ask` on.
AT_HOME = next(number for number, block in enumerate(BLOCKS) if block.text.startswith("ghostpen ask"))
# Measures for which texts as small as here are too little.
REFUSED = {"taken for the author's, continuations", "told from the author's there (AUC)"}
UNASKED = "nothing was written to data/mine: leave out --review to write\n"  # there is nobody to say yes
BUCKET, URI = "tutorial", "s3://tutorial/some/where"


@dataclass
class Desk:
    """The folder of whoever follows the tutorial, and what each command said there."""

    folder: Path
    commands: Commands
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def follow(self, block: Block) -> None:
        """Do what a block says: type its commands, or save it as the file that the text names."""
        if block.language == "toml":
            (self.folder / "configs/mine.toml").write_text(shorten_config(block.text), encoding="utf-8")
        for program, *words in block.runnable:
            if program == "python":
                subprocess.run([sys.executable, *words], cwd=self.folder, check=True, timeout=60)
                continue
            assert program == "ghostpen"
            done = self.commands.run(*words, folder=self.folder, environment=self.environment)
            assert (done.exit_code, done.stderr) == (0, UNASKED if "--review" in words else ""), words
            self.said[" ".join(words)] = done.stdout


def pack_texts(folder: Path) -> None:
    """Put small texts where the tutorial unpacks the samples."""
    place = folder / "src/ghostpen/assets/texts"
    place.mkdir(parents=True)
    for archive, works, characters in (("austen.zip", 6, 6_000), ("contrast.zip", 12, 3_000)):
        small = folder / "small" / archive
        small.parent.mkdir(exist_ok=True)
        write_texts(archive, small, works=works, characters=characters)
        with zipfile.ZipFile(place / archive, "w") as packed:
            for path in sorted(small.iterdir()):
                packed.write(path, path.name)


@pytest.fixture(scope="module")
def desk(commands: Commands, aws_variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Follow the tutorial up to the account."""
    made = Desk(tmp_path_factory.mktemp("desk"), commands, aws_variables)
    shutil.copytree(ROOT / "configs", made.folder / "configs")
    pack_texts(made.folder)
    for block in BLOCKS[:AT_HOME]:
        made.follow(block)
    return made


def test_tutorial_s_commands_lead_to_a_report_as_they_stand(desk: Desk) -> None:
    assert [words.split()[0] for words in desk.said] == [
        "doctor", "prepare", "prepare", "train", "train", "test", "write",
    ]  # fmt: skip
    report = json.loads((desk.folder / "runs/mine/report.json").read_text(encoding="utf-8"))
    assert report["author"] == "My Name"
    assert {path.name for path in (desk.folder / "runs/mine").iterdir()} >= {
        "report.html", "written.jsonl", "perplexity.png", "specificity.png", "control",
    }  # fmt: skip


def test_first_prepare_shows_what_is_dropped_and_the_second_writes(desk: Desk) -> None:
    review, written = (said for words, said in desk.said.items() if words.startswith("prepare"))

    assert "+++ My Name/emma" in review
    assert "to train on: " in written


def test_output_that_the_tutorial_shows_is_still_said(desk: Desk) -> None:
    """What stands before the first figure of a row, or after a verb's colon; the figures are of the whole works."""
    blocks = [block.text for block in read_blocks("docs/tutorial.md") if block.language == "text"]
    rows = re.findall(r"^ ?(\S[^\d\[\n]*(?:  |: ))[ +-]*\d", "\n".join(blocks), re.MULTILINE)
    shown = {" ".join(row.split()) for row in rows} - REFUSED
    said = " ".join("\n".join(desk.said.values()).split())

    assert len(shown) > 8
    assert {row for row in shown if row not in said} == set()


def test_settings_of_the_tutorial_are_complete_and_for_a_cpu() -> None:
    (block,) = (block for block in BLOCKS if block.language == "toml")
    config = parse_run_config(block.text.encode(), where="docs/tutorial.md")

    assert (config.model.name, config.model.require_gpu, str(config.data.dir)) == (
        "embedded:tiny",
        False,
        "data/mine",
    )


def test_tutorial_s_deployment_runs_as_it_stands(desk: Desk) -> None:
    (block,) = BLOCKS[AT_HOME:]
    said = {}
    with serve_account(BUCKET) as aws:
        place = Place(aws, desk.folder)
        for program, *words in block.runnable:
            assert program == "ghostpen"
            if words == ["ask"]:  # nobody is at a terminal here; unit/aws/interview has somebody answer
                unanswered = place.run("ask")
                assert (unanswered.returncode, "error: still open: aws.region, " in unanswered.stderr) == (2, True)
                place.write_settings(URI)
            caller = aws.make_environment("owner" if words[0] == "data" else "job")
            done = place.run(*(word.replace("s3://BUCKET/PREFIX", URI) for word in words), **caller)
            assert (done.returncode, done.stderr) == (0, ""), (words, done.stdout)
            said[" ".join(words[:3])] = done.stdout
        assert place.left == []
    assert said["ask"] == "configs/deploy.toml and the environment have all that a deployment needs\n"
    assert "desired capacity 0, no instance (seen so from " in said["deploy --mode test"]
    assert said["pull mine-1 --from"] == "runs/mine-1 holds test 1, the control, the author's adapter\n"


def test_commands_of_the_page_on_storage_run_as_they_stand(
    desk: Desk, aws_variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = take_blocks(__file__, "docs/storage.md")
    for name, value in aws_variables.items():
        monkeypatch.setenv(name, value)
    run = desk.folder / "runs/mine"
    files = {name: run / name for name in ("manifest.json", "report.html", "adapter/adapter_model.safetensors")}
    with make_bucket(aws_variables["AWS_ENDPOINT_URL"], "storage") as bucket:
        uri = f"s3://{bucket.name}/some/where"
        push_bundle(ObjectStore(make_client(), parse_location(uri)), "runs/austen-1/results/author", files, info={})
        for program, *words in block.runnable:
            assert program == "ghostpen"
            place = [word.replace("s3://BUCKET/PREFIX", uri) for word in words]
            desk.commands.succeed(*place, folder=desk.folder, environment=desk.environment)
        keys = {item.key for item in bucket.objects.all()}
    assert "some/where/data/manifest.json" in keys
    pulled = desk.folder / "runs/austen-1"
    assert all((pulled / name).read_bytes() == path.read_bytes() for name, path in files.items())
