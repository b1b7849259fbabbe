"""What goes wrong on the way to S3 and back: real HTTP, moto's server behind one that spoils calls."""

import base64
import json
import random
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.stand_ins.faulty_s3 import Call, Fault, FaultyS3

from ghostpen.aws.bundle import BundleManifest, FileEntry, pull_bundle, push_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.aws.transfer import PART_BYTES, hash_files, upload_files
from ghostpen.errors import BundleExistsError, CloudError

Spoil = Callable[[Callable[[Call], Fault | None]], FaultyS3]
OpenStore = Callable[..., ObjectStore]
LIMIT_S = 20
BIG = random.Random(1).randbytes(2 * PART_BYTES + 5)
SMALL = {f"chapter-{number}.txt": f"Chapter {number}. ".encode() * number for number in range(1, 25)}


def write_files(folder: Path, contents: dict[str, bytes]) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents}


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def once(condition: Callable[[Call], bool], fault: Fault) -> Callable[[Call], Fault | None]:
    """Spoil the first call that meets the condition."""
    lock, spoiled = threading.Lock(), []

    def choose(call: Call) -> Fault | None:
        with lock:
            if spoiled or not condition(call):
                return None
            spoiled.append(call)
            return fault

    return choose


def is_part(call: Call, number: int) -> bool:
    return call.method == "PUT" and call.query.get("partNumber") == str(number)


def is_manifest_write(call: Call) -> bool:
    return call.method == "PUT" and call.key.endswith("a/manifest.json")


def is_file_read(call: Call) -> bool:
    return call.method == "GET" and "/files/" in call.key


def test_thirty_percent_of_refusals_are_survived(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    dice, lock = random.Random(5), threading.Lock()

    def choose(_: Call) -> Fault | None:
        with lock:
            if dice.random() >= 0.3:
                return None
            return dice.choice([Fault.INTERNAL_ERROR, Fault.UNAVAILABLE, Fault.SLOW_DOWN])

    server = spoil(choose)
    contents = SMALL | {"weights.bin": BIG}
    push_bundle(open_store(), "a", write_files(tmp_path / "here", contents), info={})
    pull_bundle(open_store(), "a", tmp_path / "there")

    assert read_files(tmp_path / "there") == contents
    assert len(server.spoiled) > 0.2 * len(server.calls) > 10


@pytest.mark.parametrize("fault", [Fault.DROP_REQUEST, Fault.LOSE_ANSWER])
@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(lambda call: is_part(call, 2), id="part"),
        pytest.param(lambda call: call.key.endswith("small.txt"), id="small file"),
        pytest.param(lambda call: call.method == "POST" and "uploads" in call.query, id="begin of parts"),
        pytest.param(lambda call: call.method == "POST" and "uploadId" in call.query, id="end of parts"),
        pytest.param(is_manifest_write, id="manifest"),
        pytest.param(lambda call: call.method == "GET" and "list-type" in call.query, id="list"),
    ],
)
def test_connection_that_drops_during_a_push_costs_nothing(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path, fault: Fault, condition: Callable[[Call], bool]
) -> None:
    server = spoil(once(condition, fault))
    contents = {"weights.bin": BIG, "small.txt": b"Emma Woodhouse, handsome, clever, and rich"}

    pushed = push_bundle(open_store(), "a", write_files(tmp_path / "here", contents), info={})

    assert len(server.spoiled) == 1
    assert read_bundle(open_store(), "a") == pushed
    pull_bundle(open_store(), "a", tmp_path / "there")
    assert read_files(tmp_path / "there") == contents


@pytest.mark.parametrize("fault", [Fault.DROP_ANSWER, Fault.SHORTEN_ANSWER, Fault.FLIP_BIT, Fault.LOSE_ANSWER])
@pytest.mark.parametrize("name", ["weights.bin", "small.txt"])
def test_download_that_is_spoiled_once_is_whole_in_the_end(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path, fault: Fault, name: str
) -> None:
    contents = {"weights.bin": BIG, "small.txt": b"Emma Woodhouse, handsome, clever, and rich"}
    push_bundle(open_store(), "a", write_files(tmp_path / "here", contents), info={})
    server = spoil(once(lambda call: is_file_read(call) and call.key.endswith(name), fault))
    told: list[int] = []

    pull_bundle(open_store(), "a", tmp_path / "there", progress=lambda done, total: told.append(done))

    assert len(server.spoiled) == 1
    assert read_files(tmp_path / "there") == contents
    assert told[-1] == sum(map(len, contents.values()))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault.DROP_ANSWER, "s3://models did not answer: "),
        (Fault.LOSE_ANSWER, "s3://models did not answer: Connection was closed before we received a valid response"),
        (Fault.SHORTEN_ANSWER, "small.txt is not the file that its manifest names: expected 7 bytes"),
        (Fault.INTERNAL_ERROR, "small.txt could not be read: S3 answered InternalError; try again later"),
        (Fault.ACCESS_DENIED, "small.txt: access denied; the credentials in use need s3:GetObject on it"),
    ],
)
def test_download_that_is_always_spoiled_leaves_the_old_file_and_no_part(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path, fault: Fault, message: str
) -> None:
    push_bundle(open_store(), "a", write_files(tmp_path / "here", {"small.txt": b"the new"}), info={})
    write_files(tmp_path / "there", {"small.txt": b"the old one"})
    spoil(lambda call: fault if is_file_read(call) else None)

    with pytest.raises(CloudError) as caught:
        pull_bundle(open_store(attempts=2), "a", tmp_path / "there")

    assert message in caught.value.message
    assert read_files(tmp_path / "there") == {"small.txt": b"the old one"}


def write_manifest(store: ObjectStore, **changes: Any) -> None:
    """Put a bundle of one file there, with a manifest that is not quite right."""
    manifest = BundleManifest((FileEntry("a.txt", 3, "0" * 64),), {}, created_at="2026-11-24T12:00:00+00:00")
    store.write_object(f"a/{manifest.folder}/a.txt", b"one")
    store.write_object("a/manifest.json", json.dumps(json.loads(manifest.to_json()) | changes).encode())


def test_manifest_with_a_path_that_leaves_the_folder_is_refused_before_any_file_is_read(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    write_manifest(open_store(), files=[{"path": "../a.txt", "size_bytes": 3, "sha256": "0" * 64}])
    server = spoil(lambda call: None)

    with pytest.raises(CloudError) as caught:
        pull_bundle(open_store(), "a", tmp_path / "there" / "deep")

    assert caught.value.message == (
        "s3://models/ghost/pen/a/manifest.json is not a bundle's manifest ('../a.txt' can't be a file of a bundle: "
        'its path has a part that is empty, "." or ".."), so nothing of it was used; delete s3://models/ghost/pen/a/ '
        "and push it again"
    )
    assert not list(tmp_path.iterdir())
    assert [call.key for call in server.calls] == ["models/ghost/pen/a/manifest.json"]
    with pytest.raises(CloudError, match="is not a bundle's manifest"):  # and nothing is put beside it
        push_bundle(open_store(), "a", write_files(tmp_path / "here", {"a.txt": b"one"}), info={})
    assert {call.method for call in server.calls} == {"GET"}


def test_manifest_that_is_not_json_is_refused(open_store: OpenStore, tmp_path: Path) -> None:
    open_store().write_object("a/manifest.json", b"<html>")

    with pytest.raises(CloudError, match=r"a/manifest.json is not a bundle's manifest \(the file: Invalid JSON: "):
        pull_bundle(open_store(), "a", tmp_path / "there")
    assert not list(tmp_path.iterdir())


def test_file_with_another_hash_is_refused_and_says_both(open_store: OpenStore, tmp_path: Path) -> None:
    write_manifest(open_store())

    with pytest.raises(CloudError) as caught:
        pull_bundle(open_store(), "a", tmp_path / "there")

    # sha256 of "one"
    found = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert "/a.txt is not the file that its manifest names: " in caught.value.message
    assert f"expected 3 bytes with sha256 {'0' * 64}, found 3 with {found}" in caught.value.message
    assert read_files(tmp_path / "there") == {}


def test_file_that_the_manifest_names_and_is_gone_is_an_error(open_store: OpenStore, tmp_path: Path) -> None:
    store = open_store()
    manifest = push_bundle(store, "a", write_files(tmp_path / "here", {"a.txt": b"one", "b.txt": b"two"}), info={})
    store.client.delete_object(Bucket="models", Key=f"ghost/pen/a/{manifest.folder}/b.txt")

    with pytest.raises(CloudError) as caught:
        pull_bundle(store, "a", tmp_path / "there")
    assert caught.value.message.startswith(
        f"s3://models/ghost/pen/a/{manifest.folder}/b.txt is not there, although its bundle's manifest names it; "
    )
    assert "b.txt" not in read_files(tmp_path / "there")


def test_two_pushers_of_different_files_one_wins_and_the_winner_s_are_whole(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    both = threading.Barrier(2, timeout=LIMIT_S)

    def choose(call: Call) -> None:
        if is_manifest_write(call):
            both.wait()  # each has put all its files there, and neither knows of the other

    spoil(choose)
    contents = [{"a.txt": b"one's", "only-one.txt": b"1"}, {"a.txt": b"two's", "only-two.txt": b"2"}]

    def push(number: int) -> BundleManifest | BundleExistsError:
        files = write_files(tmp_path / f"here-{number}", contents[number])
        try:
            return push_bundle(open_store(), "a", files, info={"pusher": number})
        except BundleExistsError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(push, (0, 1)))

    assert {type(outcome) for outcome in outcomes} == {BundleManifest, BundleExistsError}
    winner = next(number for number, outcome in enumerate(outcomes) if isinstance(outcome, BundleManifest))
    assert str(outcomes[1 - winner]).startswith("s3://models/ghost/pen/a holds other files, pushed 20")
    pulled = pull_bundle(open_store(), "a", tmp_path / "there")
    assert pulled.info == {"pusher": winner}
    assert read_files(tmp_path / "there") == contents[winner]


def test_two_pushers_of_the_same_files_both_succeed(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=LIMIT_S)

    def choose(call: Call) -> None:
        if is_manifest_write(call):
            both.wait()

    spoil(choose)
    files = write_files(tmp_path / "here", SMALL)
    with ThreadPoolExecutor(2) as pool:
        pushes = [pool.submit(push_bundle, open_store(), "a", files, info={"pusher": number}) for number in (0, 1)]
        outcomes = [push.result() for push in pushes]

    assert outcomes[0] == outcomes[1] == read_bundle(open_store(), "a")


def test_upload_that_fails_does_not_stop_another_of_the_same_file_through_the_same_client(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    held, failed, let_go = threading.Event(), threading.Event(), threading.Event()

    def choose(call: Call) -> Fault | None:
        if call.method == "PUT" and call.key.endswith("refused.txt"):
            assert held.wait(LIMIT_S)
            failed.set()
            return Fault.ACCESS_DENIED
        if call.method == "PUT" and call.key.endswith("shared.txt") and not held.is_set():
            held.set()
            let_go.wait(LIMIT_S)
        return None

    spoil(choose)
    files = hash_files(write_files(tmp_path, {"refused.txt": b"no", "shared.txt": b"yes"}))
    keys = {f"ghost/pen/{name}": file for name, file in files.items()}
    store = open_store()
    with ThreadPoolExecutor(1) as pool:
        failing = pool.submit(upload_files, store, keys, progress=None, deadline_s=LIMIT_S)
        assert failed.wait(LIMIT_S)
        for _ in range(20):  # the first few may come before the other has seen its refusal
            upload_files(store, {"ghost/pen/shared.txt": files["shared.txt"]}, progress=None, deadline_s=LIMIT_S)
        assert not failing.done()  # it still waits for its own request of that file
        let_go.set()
        with pytest.raises(CloudError):
            failing.result(LIMIT_S)


def test_file_that_changes_while_it_is_pushed_leaves_no_bundle(
    spoil: Spoil, open_store: OpenStore, tmp_path: Path
) -> None:
    files = write_files(tmp_path / "here", {"log.txt": b"step 1\n"})

    def choose(call: Call) -> None:
        if call.key.endswith("log.txt") and call.method == "PUT":
            files["log.txt"].write_bytes(b"step 1\nstep 2\n")

    server = spoil(choose)
    with pytest.raises(CloudError, match=r"log.txt was changed while it was pushed; push again when nothing writes"):
        push_bundle(open_store(), "a", files, info={})
    assert read_bundle(open_store(), "a") is None

    server.choose = lambda call: None
    push_bundle(open_store(), "a", files, info={})
    pull_bundle(open_store(), "a", tmp_path / "there")
    assert read_files(tmp_path / "there") == {"log.txt": b"step 1\nstep 2\n"}


def test_s3_is_told_the_checksum_of_every_whole_file(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    server = spoil(lambda call: None)
    contents = {"check.txt": b"123456789", "weights.bin": BIG}
    push_bundle(open_store(), "a", write_files(tmp_path / "here", contents), info={})

    small = next(call.headers for call in server.calls if call.key.endswith("check.txt"))
    assert small["x-amz-checksum-crc32"] == "y/Q5Jg=="  # 0xCBF43926, CRC-32's own check value, in base64
    end = next(call.headers for call in server.calls if call.method == "POST" and "uploadId" in call.query)
    assert end["x-amz-checksum-crc32"] == base64.b64encode(struct.pack(">I", zlib.crc32(BIG))).decode()
    assert end["x-amz-checksum-type"] == "FULL_OBJECT"
    parts = [call.headers for call in server.calls if "partNumber" in call.query]
    assert len(parts) == 3 and all("x-amz-checksum-crc32" in part for part in parts)


def test_refusals_without_end_stop_at_the_deadline(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    server = spoil(lambda call: Fault.UNAVAILABLE if call.method == "PUT" else None)

    with pytest.raises(CloudError, match=r"^s3://models/ghost/pen took longer than 0.5 seconds; what is complete"):
        push_bundle(open_store(), "a", write_files(tmp_path / "here", {"a.txt": b"one"}), info={}, deadline_s=0.5)

    calls = len(server.calls)
    assert read_bundle(open_store(), "a") is None
    assert len(server.calls) == calls + 1  # nobody goes on in the background


def test_push_without_the_right_to_write_names_it(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    spoil(lambda call: Fault.ACCESS_DENIED if call.method == "PUT" else None)

    with pytest.raises(CloudError, match=r"/a.txt: access denied; the credentials in use need s3:PutObject"):
        push_bundle(open_store(), "a", write_files(tmp_path / "here", {"a.txt": b"one"}), info={})
    assert read_bundle(open_store(), "a") is None


def test_push_without_the_right_to_list_names_it(spoil: Spoil, open_store: OpenStore, tmp_path: Path) -> None:
    spoil(lambda call: Fault.ACCESS_DENIED if "list-type" in call.query else None)

    with pytest.raises(CloudError, match=r"access denied; the credentials in use need s3:ListBucket on the bucket"):
        push_bundle(open_store(), "a", write_files(tmp_path / "here", {"a.txt": b"one"}), info={})
