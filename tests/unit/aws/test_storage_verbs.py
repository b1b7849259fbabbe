"""`ghostpen data push` and `ghostpen pull`, in processes of their own where one is killed or its disk is full."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.stand_ins.faulty_s3 import Call, Fault, FaultyS3
from typer.testing import CliRunner, Result

from ghostpen import __version__
from ghostpen.aws.bundle import pull_bundle, push_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.transfer import PART_BYTES
from ghostpen.cli import app
from ghostpen.data.manifest import (
    FORMAT_VERSION,
    Inputs,
    Manifest,
    SplitCounts,
    compute_data_sha256,
    list_prepared_files,
    save_manifest,
)

Spoil = Callable[[Callable[[Call], Fault | None]], FaultyS3]
OpenStore = Callable[..., ObjectStore]
LIMIT_S = 60
PLACE = "s3://models/ghost/pen"
RUN = {
    "manifest.json": b'{"run_id": "austen-1"}',
    "metrics.jsonl": b"{}\n",
    "adapter/adapter_model.safetensors": random.Random(2).randbytes(300_000),
    "samples/before.txt": b"",
}
CONTROL = {"manifest.json": b'{"run_id": "austen-1-control"}', "adapter/adapter_model.safetensors": b"others"}


def write_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_prepared(folder: Path, train: bytes) -> Path:
    """Write a folder as `ghostpen prepare` does; what its rows hold is no matter here."""
    write_files(folder, {"train.jsonl": train, "test.jsonl": b"{}\n"})
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        ghostpen_version=__version__,
        inputs=Inputs(author="Jane Austen", sources=[], contrast=[], val_docs=None, test_docs=None, seed=0),
        within_document=False,
        contrast_within_document=False,
        splits={"train": SplitCounts(documents=1, sections=1, words=1, size_bytes=1)},
        dropped={},
        data_sha256=compute_data_sha256(folder),
    )
    save_manifest(manifest, folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_prepared(tmp_path / "data", b'{"text": "Emma"}\n')


def run_verb(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def is_read(call: Call, ending: str) -> bool:
    return call.method == "GET" and call.key.endswith(ending)


def check_refused(done: Result, message: str) -> None:
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert message in done.stderr


def start_process(*arguments: str, folder: Path, code: str = "") -> "subprocess.Popen[str]":
    """Start the command, or `code`, as a process that sees the environment of the test."""
    program = ["-c", code] if code else ["-m", "ghostpen"]
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=folder, env=dict(os.environ), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("place", [PLACE, f"{PLACE}/", f"{PLACE}/data"])
def test_data_pushed_is_the_folder_that_was_prepared(
    data: Path, open_store: OpenStore, tmp_path: Path, place: str
) -> None:
    (data / "notes.txt").write_bytes(b"mine: prepare did not write it")
    done = run_verb("data", "push", str(data), place)

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{PLACE}/data holds {data}: 3 files, ")
    manifest = pull_bundle(open_store(), "data", tmp_path / "there")
    assert manifest.info["ghostpen_version"] == __version__
    assert read_files(tmp_path / "there") == {
        name: (data / name).read_bytes() for name in ("manifest.json", "train.jsonl", "test.jsonl")
    }
    list_prepared_files(tmp_path / "there")  # which checks its fingerprint
    assert run_verb("data", "push", str(data), place).stdout == done.stdout


def test_data_of_another_folder_does_not_replace_what_is_there(
    data: Path, open_store: OpenStore, tmp_path: Path
) -> None:
    run_verb("data", "push", str(data), PLACE)
    first = read_bundle(open_store(), "data")
    done = run_verb("data", "push", str(write_prepared(tmp_path / "other", b"{}\n")), PLACE)

    check_refused(done, f"{PLACE}/data holds other files, pushed 20")
    assert read_bundle(open_store(), "data") == first


def test_data_that_was_changed_since_is_not_pushed(data: Path, open_store: OpenStore) -> None:
    (data / "train.jsonl").write_bytes(b'{"text": "Emma!"}\n')

    check_refused(run_verb("data", "push", str(data), PLACE), f"{data}: its files were changed after they were prep")
    assert open_store().list_objects("data") == {}


def test_folder_that_is_no_data_is_not_pushed(open_store: OpenStore, tmp_path: Path) -> None:
    check_refused(
        run_verb("data", "push", str(tmp_path), PLACE), "no such file; give a folder that `ghostpen prepare`"
    )


@pytest.mark.parametrize("verb", [["pull", "austen-1", "--from"], ["data", "push", "."]])
def test_place_that_is_none_in_s3_is_one_line(
    data: Path, verb: list[str], aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    check_refused(run_verb(*verb, "/mnt/data"), "/mnt/data names no place in S3; write s3://BUCKET/PREFIX")


def test_bucket_that_is_not_there_is_one_line(data: Path, aws_environment: None, tmp_path: Path) -> None:
    message = "s3://nobodys: there is no such bucket; correct its name, or the account (AWS_PROFILE)"
    check_refused(run_verb("data", "push", str(data), "s3://nobodys/a"), message)
    check_refused(run_verb("pull", "a", "--from", "s3://nobodys/a", "--out", str(tmp_path / "out")), message)
    assert not (tmp_path / "out").exists()


def test_access_denied_names_the_right_that_is_missing(data: Path, spoil: Spoil, tmp_path: Path) -> None:
    server = spoil(lambda call: Fault.ACCESS_DENIED)
    check_refused(
        run_verb("data", "push", str(data), PLACE),
        f"{PLACE}/data/manifest.json: access denied; the credentials in use need s3:GetObject on it",
    )
    check_refused(
        run_verb("pull", "a", "--from", PLACE, "--out", str(tmp_path / "out")),
        f"{PLACE}/runs/a/tests/: access denied; the credentials in use need s3:ListBucket on the bucket",
    )
    assert len(server.calls) == 2  # a refusal of rights is not asked again
    assert not (tmp_path / "out").exists()


def wait_in_part(number: int) -> tuple[Callable[[Call], None], threading.Event, threading.Event]:
    """Make a choice for FaultyS3 that keeps one part of an upload waiting; say when it came, and let it go."""
    reached, go_on = threading.Event(), threading.Event()

    def choose(call: Call) -> None:
        if call.method == "PUT" and call.query.get("partNumber") == str(number):
            reached.set()
            go_on.wait(LIMIT_S)

    return choose, reached, go_on


def test_push_that_was_killed_is_no_bundle_and_the_next_one_goes_on(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    data = write_prepared(tmp_path / "data", random.Random(3).randbytes(2 * PART_BYTES))
    choose, reached, go_on = wait_in_part(2)
    server = spoil(choose)
    process = start_process("data", "push", str(data), PLACE, folder=tmp_path)
    assert reached.wait(LIMIT_S)
    deadline = time.monotonic() + LIMIT_S
    while len(open_store().list_objects("data")) < 2:
        assert time.monotonic() < deadline, f"the small files were not there after {LIMIT_S} seconds"
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == -signal.SIGKILL
    go_on.set()

    assert read_bundle(open_store(), "data") is None
    before = len(server.calls)
    done = run_verb("data", "push", str(data), PLACE)

    assert (done.exit_code, done.stderr) == (0, "")
    pull_bundle(open_store(), "data", tmp_path / "there")
    assert read_files(tmp_path / "there") == read_files(data)
    again = {
        call.key.removeprefix("models/ghost/pen/data/") for call in server.calls[before:] if call.method == "PUT"
    }
    manifest = read_bundle(open_store(), "data")
    assert manifest is not None
    assert again == {f"{manifest.folder}/train.jsonl", "manifest.json"}  # the two small files had arrived


def test_ctrl_c_during_a_push_is_one_line_and_takes_its_parts_back(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    data = write_prepared(tmp_path / "data", random.Random(3).randbytes(2 * PART_BYTES))
    choose, reached, go_on = wait_in_part(2)
    spoil(choose)
    process = start_process("data", "push", str(data), PLACE, folder=tmp_path)
    assert reached.wait(LIMIT_S)
    process.send_signal(signal.SIGINT)
    go_on.set()
    stdout, stderr = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, stdout, stderr) == (130, "", "error: interrupted\n")
    assert read_bundle(open_store(), "data") is None
    assert "Uploads" not in open_store().client.list_multipart_uploads(Bucket="models")


def push_run(store: ObjectStore, folder: Path, *, control: bool = True, results: bool = True) -> None:
    """Put there what a run leaves: an attempt that was cut off, one that was not, results, tests."""
    for attempt in (9, 10):
        files = write_files(folder / f"attempt-{attempt}", {"log.txt": b"%d" % attempt, "outcome.json": b"{}"})
        push_bundle(store, f"runs/austen-1/attempts/{attempt}", files, info={})
    if results:
        push_bundle(store, "runs/austen-1/results/author", write_files(folder / "author", RUN), info={})
    if results and control:
        push_bundle(store, "runs/austen-1/results/control", write_files(folder / "control", CONTROL), info={})
    for test in (2, 10) if results else ():
        files = write_files(folder / f"test-{test}", {"report.json": b"%d" % test})
        push_bundle(store, f"runs/austen-1/tests/{test}", files, info={})


def test_pull_brings_the_run_with_its_control_newest_test_and_log(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    push_run(open_store(), tmp_path / "there")
    server = spoil(lambda call: None)
    done = run_verb("pull", "austen-1", "--from", PLACE)

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == ("runs/austen-1 holds the log of attempt 10, test 10, the control, the author's adapter\n")
    expected = RUN | {f"control/{name}": content for name, content in CONTROL.items()}
    assert read_files(Path("runs/austen-1")) == expected | {"log.txt": b"10", "report.json": b"10"}
    files = [call.key for call in server.calls if call.method == "GET" and "/files/" in call.key]
    assert "/results/author/" in files[-1] and files[-1].endswith("/manifest.json")  # by which it is known as a run
    before = len(server.calls)
    assert run_verb("pull", "austen-1", "--from", PLACE).stdout == done.stdout
    assert not any("/files/" in call.key for call in server.calls[before:])


def test_pull_of_a_run_without_a_control_brings_the_rest(open_store: OpenStore, tmp_path: Path) -> None:
    push_run(open_store(), tmp_path / "there", control=False)
    done = run_verb("pull", "austen-1", "--from", PLACE, "--out", str(tmp_path / "here"))

    assert done.stdout == f"{tmp_path}/here holds the log of attempt 10, test 10, the author's adapter\n"
    assert read_files(tmp_path / "here") == RUN | {"log.txt": b"10", "report.json": b"10"}


def test_pull_of_an_unfinished_run_brings_the_log_and_says_so(open_store: OpenStore, tmp_path: Path) -> None:
    push_run(open_store(), tmp_path / "there", results=False)
    out = tmp_path / "here"
    done = run_verb("pull", "austen-1", "--from", PLACE, "--out", str(out))

    check_refused(
        done, f"{PLACE}/runs/austen-1 holds no results of the author's adapter after attempt 10, whose log "
    )
    assert f"is now in {out}/log.txt" in done.stderr
    assert read_files(out) == {"log.txt": b"10"}


def test_pull_of_a_run_that_is_not_there_is_one_line(open_store: OpenStore, tmp_path: Path) -> None:
    done = run_verb("pull", "emma-1", "--from", PLACE, "--out", str(tmp_path / "here"))

    check_refused(
        done, f"{PLACE}/runs/emma-1 holds no results, and no attempt has ended there; check the id and --from"
    )
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("run_id", ["../emma", "Emma", "a/b", "", "a" * 65])
def test_pull_of_what_is_no_run_id_asks_nobody(run_id: str, spoil: Spoil) -> None:
    server = spoil(lambda call: None)

    check_refused(run_verb("pull", run_id, "--from", PLACE), "is not the id of a run: it has 1 to 64 letters a-z")
    assert server.calls == []


def test_pull_into_the_folder_of_another_run_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    push_run(open_store(), tmp_path / "there")
    mine = {"manifest.json": b'{"run_id": "austen-2"}', "log.txt": b"mine"}
    write_files(tmp_path / "here", mine)
    done = run_verb("pull", "austen-1", "--from", PLACE, "--out", str(tmp_path / "here"))

    check_refused(
        done, f"{tmp_path}/here holds another run, which was left alone; name another folder with --out DIR"
    )
    assert read_files(tmp_path / "here") == mine


def test_pull_that_was_cut_off_leaves_nothing_that_looks_like_a_run(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    push_run(open_store(), tmp_path / "there", control=False)
    server = spoil(lambda call: Fault.FLIP_BIT if is_read(call, ".safetensors") else None)
    command = ["pull", "austen-1", "--from", PLACE, "--out", str(tmp_path / "here")]
    check_refused(run_verb(*command), "adapter_model.safetensors is not the file that its manifest names: expected")

    left = read_files(tmp_path / "here")
    assert "manifest.json" not in left
    assert left.items() <= (RUN | {"log.txt": b"10", "report.json": b"10"}).items()
    server.choose = lambda call: None
    assert run_verb(*command).exit_code == 0
    assert read_files(tmp_path / "here") == RUN | {"log.txt": b"10", "report.json": b"10"}


# As a full disk refuses: no file may grow beyond a size that the adapter has and the rest has not.
SMALL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
from ghostpen.cli import app
app()
"""


def test_pull_onto_a_full_disk_keeps_what_is_complete_and_says_so(open_store: OpenStore, tmp_path: Path) -> None:
    push_run(open_store(), tmp_path / "there")
    out = tmp_path / "here"
    command = ["pull", "austen-1", "--from", PLACE, "--out", str(out)]
    process = start_process(*command, folder=tmp_path, code=SMALL_DISK)
    stdout, stderr = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, stdout) == (2, "")
    assert stderr == (
        f"error: {out}/adapter/adapter_model.safetensors: can't be written (File too large); make room, or mend the "
        "folder, and pull again: the files that are complete stay\n"
    )
    left = read_files(out)
    assert left["control/adapter/adapter_model.safetensors"] == b"others"
    assert not any(name.endswith((".part", "author/manifest.json")) for name in left)
    assert "manifest.json" not in left
    assert run_verb(*command).exit_code == 0
    assert read_files(out).items() >= RUN.items()
