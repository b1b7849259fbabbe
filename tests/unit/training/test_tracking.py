"""Trackers: what is written, and that nothing that one does wrong reaches the training."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.evidence import read_rows, read_wandb
from tests.stand_ins.wandb_server import WandbServer
from tests.workflows.act import find_descendants

from ghostpen.config import RunConfig, build_run_config
from ghostpen.errors import ConfigError
from ghostpen.score import Score
from ghostpen.training.manifest import FORMAT_VERSION, write_manifest
from ghostpen.training.metrics import Measurement
from ghostpen.training.recorder import SampleRow, TargetRow, describe_error
from ghostpen.training.run import plan_start
from ghostpen.training.tensorboard_recorder import TensorboardRecorder
from ghostpen.training.tracking import Tracker
from ghostpen.training.wandb_process import serve
from ghostpen.training.wandb_recorder import WandbRecorder

KEY = "c0ffee5ec4e7" + "0123456789abcdef" * 2
SAMPLE = SampleRow("evaluation", 2, "emma, section 1", "Emma Woodhouse, handsome,", " clever, and rich")
TARGETS = [TargetRow("attention.q_proj", 4, 1_024), TargetRow("experts.down_proj", 4, 65_536)]
# Slow machines: what is asserted is that a wait ends, not how fast Python starts.
STARTING_S = 30


def make_config(**tracking: Any) -> RunConfig:
    return build_run_config(
        {
            "name": "austen",
            "data": {"dir": "data"},
            "model": {"name": "embedded:tiny"},
            "train": {"max_steps": 2},
            "tracking": tracking,
        }
    )


def make_measurements(steps: int = 3) -> list[Measurement]:
    found = []
    for step in range(steps):
        train = Score(loss_nats=4.0 - step, tokens=2, size_bytes=0)
        val = Score(loss_nats=5.0 - step, tokens=2, size_bytes=8)
        memory = {"peak_memory_bytes": 10**9, "peak_gpu_memory_bytes": 2 * 10**9}
        found += [
            Measurement(step, 100 * step, "train", train, learning_rate=1e-4, grad_norm=0.5, **memory),
            Measurement(step, 100 * step, "val", val),
            Measurement(step, 100 * step, "contrast_val", val),
        ]
    return found


class Warnings(list[str]):
    """Collect what a person would see."""

    def __call__(self, text: str) -> None:
        self.append(text)


def track(
    config: RunConfig, folder: Path, *, resume_step: int = 0, rows: Sequence[Measurement] = (), **options: Any
) -> Warnings:
    """Do what a training does with a tracker; returns what it was warned of."""
    warnings = Warnings()
    tracker = Tracker(config, folder=folder, run_id="austen-1", resume_step=resume_step, warn=warnings, **options)
    tracker.record_targets(TARGETS)
    for measurement in rows or make_measurements():
        tracker.record(measurement)
    tracker.record_samples([SAMPLE])
    tracker.finish()
    return warnings


def find_run(folder: Path, kind: str) -> Path:
    (path,) = folder.glob(f"wandb/{kind}-*/run-austen-1.wandb")
    return path


def read_history(path: Path) -> dict[str, list[Any]]:
    """Read what a .wandb file holds, by key."""
    history: dict[str, list[Any]] = {}
    for record in read_wandb(path):
        for item in record.history.item:
            history.setdefault(item.key or "/".join(item.nested_key), []).append(json.loads(item.value_json))
    return history


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that points W&B at a server, with a key."""

    def point(url: str, key: str = KEY) -> None:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.setenv("WANDB_API_KEY", key)
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("HOME", str(tmp_path))

    return point


@pytest.fixture
def closed_url() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Return the address of a server that accepts and never answers: the kernel accepts up to the backlog."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def assert_all_is_recorded(folder: Path) -> None:
    assert read_rows(folder / "metrics.jsonl") == [measurement.to_json() for measurement in make_measurements()]


# The choice of a tracker


@pytest.mark.parametrize("tracker", ["none", "tensorboard", "wandb"])
def test_metrics_are_written_whatever_the_tracker(tmp_path: Path, tracker: str) -> None:
    assert track(make_config(tracker=tracker), tmp_path) == []
    assert_all_is_recorded(tmp_path)
    folders = {"none": set(), "tensorboard": {"tensorboard"}, "wandb": {"wandb"}}[tracker]
    assert {path.name for path in tmp_path.iterdir()} == folders | {"metrics.jsonl"}


@pytest.mark.parametrize(("tracker", "loaded"), [("none", []), ("wandb", []), ("tensorboard", ["tensorboard"])])
def test_only_the_chosen_tracker_is_imported(tmp_path: Path, tracker: str, loaded: list[str]) -> None:
    """W&B not even then: it is imported by the process that talks to it."""
    code = (
        "import sys; from pathlib import Path; from ghostpen.config import RunConfig; "
        "from ghostpen.training.tracking import Tracker; config = RunConfig.model_validate_json(sys.argv[1]); "
        "tracker = Tracker(config, folder=Path(sys.argv[2]), run_id='a', resume_step=0, warn=print); "
        "tracker.finish(); print(*[name for name in ('wandb', 'tensorboard') if name in sys.modules])"
    )
    settings = make_config(tracker=tracker).model_dump_json()
    command = [sys.executable, "-c", code, settings, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == loaded


def test_tracker_of_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracking\.tracker .*'wandb', 'tensorboard' or 'none'"):
        make_config(tracker="mlflow")


def test_resume_drops_rows_of_the_part_that_was_not_kept(tmp_path: Path) -> None:
    rows = make_measurements()
    track(make_config(tracker="none"), tmp_path, rows=rows)
    track(make_config(tracker="none"), tmp_path, rows=rows[6:], resume_step=1)
    assert_all_is_recorded(tmp_path)


def test_resume_that_begins_with_a_measurement_drops_that_of_a_resume_before(tmp_path: Path) -> None:
    rows = make_measurements()
    track(make_config(tracker="none"), tmp_path, rows=rows)
    again = [row for row in rows if row.step == 1 and row.split != "train"] + rows[6:]
    track(make_config(tracker="none"), tmp_path, rows=again, resume_step=1, evaluation_due=True)
    assert_all_is_recorded(tmp_path)


@pytest.mark.parametrize("key", ["tracker", "wandb_project", "samples"])
def test_changed_tracking_leaves_a_run_the_same(tmp_path: Path, key: str) -> None:
    config = make_config().model_copy(update={"output": make_config().output.model_copy(update={"dir": tmp_path})})
    (tmp_path / "austen").mkdir()
    manifest = {
        "format_version": FORMAT_VERSION,
        "run_id": "austen-1",
        "finished": True,
        "data_sha256": "d",
        "config": config.model_dump(mode="json"),
    }
    write_manifest(manifest, tmp_path / "austen")
    changed = config.tracking.model_copy(update={key: {"tracker": "none", "samples": 0}.get(key, "mine")})
    start = plan_start(config.model_copy(update={"tracking": changed}), control=False, resume=True, data_sha256="d")
    assert start.finished == manifest
    other = config.model_copy(update={"train": config.train.model_copy(update={"seed": 1})})
    with pytest.raises(ConfigError, match="other data or settings"):
        plan_start(other, control=False, resume=True, data_sha256="d")


def test_moved_run_stays_the_same(tmp_path: Path) -> None:
    (tmp_path / "here/austen").mkdir(parents=True)
    config = move(make_config(), output=tmp_path / "here", data=Path("data"), uri="s3://one/prefix")
    manifest = {
        "format_version": FORMAT_VERSION,
        "run_id": "austen-1",
        "finished": True,
        "data_sha256": "d",
        "config": config.model_dump(mode="json"),
    }
    write_manifest(manifest, tmp_path / "here/austen")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = move(config, output=tmp_path / "there", data=Path("other"), uri="s3://another")
    assert plan_start(moved, control=False, resume=True, data_sha256="d").finished == manifest
    with pytest.raises(ConfigError, match="of other data or settings"):
        plan_start(moved, control=False, resume=True, data_sha256="d", pairs_sha256={"briefs.jsonl": "p"})
    with pytest.raises(ConfigError, match="other data or settings"):
        plan_start(moved, control=False, resume=True, data_sha256="e")
    longer = moved.data.model_copy(update={"sequence_length": 64})
    with pytest.raises(ConfigError, match="other data or settings"):
        plan_start(moved.model_copy(update={"data": longer}), control=False, resume=True, data_sha256="d")


def move(config: RunConfig, *, output: Path, data: Path, uri: str) -> RunConfig:
    return config.model_copy(
        update={
            "output": config.output.model_copy(update={"dir": output}),
            "data": config.data.model_copy(update={"dir": data}),
            "storage": config.storage.model_copy(update={"uri": uri}),
        }
    )


@pytest.mark.parametrize(("control", "expected"), [(False, "mine-1"), (True, "mine-1-control")])
def test_new_run_takes_the_id_that_is_given(tmp_path: Path, control: bool, expected: str) -> None:
    config = move(make_config(), output=tmp_path, data=Path("data"), uri="s3://one")
    start = plan_start(config, control=control, resume=True, data_sha256="d", run_id="mine-1")
    assert start.run_id == expected


def test_id_that_no_place_takes_is_refused(tmp_path: Path) -> None:
    config = move(make_config(), output=tmp_path, data=Path("data"), uri="s3://one")
    with pytest.raises(ConfigError, match='--run-id is "a/b": use 1 to 64 of'):
        plan_start(config, control=False, resume=True, data_sha256="d", run_id="a/b")


# A tracker that fails


class Failing:
    """Raise from one method on; count what was asked."""

    def __init__(self, method: str) -> None:
        self.method, self.calls = method, 0

    def _call(self, method: str) -> None:
        self.calls += 1
        if method == self.method:
            raise RuntimeError(f"the server says no to {KEY}\nand more")

    def record_row(self, row: Mapping[str, Any]) -> None:
        self._call("record_row")

    def record_targets(self, targets: Sequence[TargetRow]) -> None:
        self._call("record_targets")

    def record_samples(self, samples: Sequence[SampleRow]) -> None:
        self._call("record_samples")

    def record_adapter(self, folder: Path) -> None:
        self._call("record_adapter")

    def finish(self, *, failed: bool) -> None:
        self._call("finish")


# How often it is asked until then: the targets, nine rows, the samples, the end.
@pytest.mark.parametrize(
    ("method", "calls"), [("record_targets", 1), ("record_row", 2), ("record_samples", 11), ("finish", 12)]
)
def test_failing_tracker_is_one_warning_and_never_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, calls: int
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    failing = Failing(method)
    warnings = track(make_config(send_samples=True), tmp_path, open_recorder=lambda *_: failing)
    assert warnings == [
        "wandb failed (RuntimeError: the server says no to ***); the training goes on without it, "
        "and metrics.jsonl holds every number"
    ]
    assert failing.calls == calls
    assert_all_is_recorded(tmp_path)


def test_tracker_that_cannot_be_opened_is_one_warning(tmp_path: Path) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied", "runs/wandb")

    (warning,) = track(make_config(), tmp_path, open_recorder=refuse)
    assert "Permission denied" in warning
    assert_all_is_recorded(tmp_path)


def test_samples_and_adapter_go_only_where_they_may(tmp_path: Path) -> None:
    asked = []
    for allowed in (False, True):
        failing = Failing("none of them")
        config = make_config(send_samples=allowed, send_adapter=allowed)
        tracker = Tracker(
            config,
            folder=tmp_path,
            run_id="a",
            resume_step=0,
            warn=pytest.fail,
            open_recorder=lambda *_, recorder=failing: recorder,
        )
        tracker.record_samples([SAMPLE])
        tracker.record_adapter(tmp_path)
        asked.append(failing.calls)
    assert asked == [0, 2]


def test_description_of_an_error_holds_no_secret() -> None:
    error = ValueError(f"POST https://me:hunter22@wandb.example/graphql with {KEY} failed\nand so on")
    text = describe_error(error, {"WANDB_API_KEY": KEY, "SHORT_KEY": "with", "HOME": "graphql-home"})
    assert text == "ValueError: POST https://***@wandb.example/graphql with *** failed"


# W&B, the real client against real sockets


def test_wandb_offline_holds_curves_targets_memory_and_samples(tmp_path: Path) -> None:
    assert track(make_config(send_samples=True), tmp_path) == []
    history = read_history(find_run(tmp_path, "offline-run"))
    rows = read_rows(tmp_path / "metrics.jsonl")
    for split in ("train", "val", "contrast_val"):
        assert history[f"perplexity/{split}"] == [row["perplexity"] for row in rows if row["split"] == split]
    assert history["train/peak_memory_bytes"] == [10**9] * 3
    assert history["train/peak_gpu_memory_bytes"] == [2 * 10**9] * 3
    assert history["train/grad_norm"] == [0.5] * 3
    assert history["train/learning_rate"] == [1e-4] * 3
    tables = {}
    for path in tmp_path.glob("wandb/offline-run-*/files/media/table/*.json"):
        table = json.loads(path.read_text(encoding="utf-8"))
        tables[path.name.partition("_")[0]] = [table["columns"], *table["data"]]
    assert tables["targets"] == [
        ["kind", "weights", "trainable"],
        ["attention.q_proj", 4, 1_024],
        ["experts.down_proj", 4, 65_536],
    ]
    assert tables["samples"] == [
        ["when", "step", "passage", "beginning", "written"],
        ["evaluation", 2, "emma, section 1", "Emma Woodhouse, handsome,", " clever, and rich"],
    ]


@pytest.mark.slow
def test_wandb_server_gets_the_same_run_before_and_after_a_resume(
    tmp_path: Path, online: Callable[[str], None]
) -> None:
    rows = make_measurements()
    with WandbServer() as server:
        online(server.url)
        assert track(make_config(), tmp_path, rows=rows[:6]) == []
        first = len(server.history)
        assert track(make_config(), tmp_path, rows=rows[6:], resume_step=1) == []
    runs = [query["variables"] for query in server.asked if query.get("operationName") == "UpsertBucket"]
    assert {(run["name"], run["project"]) for run in runs if run.get("project")} == {("austen-1", "ghostpen")}
    # Only the second part asks for what is there already, to go on with it.
    asked = [query.get("operationName") for query in server.asked]
    assert asked.count("RunResumeStatus") == 1
    assert asked.index("UpsertBucket") < asked.index("RunResumeStatus")
    sent = [row["perplexity/val"] for row in server.history if "perplexity/val" in row]
    assert sent == [row.score.perplexity for row in rows if row.split == "val"]
    assert 0 < first < len(server.history)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["closed", "silent"])
def test_wandb_out_of_reach_is_recorded_offline(
    tmp_path: Path, online: Callable[[str], None], closed_url: str, silent_url: str, kind: str
) -> None:
    online(closed_url if kind == "closed" else silent_url)
    began_s = time.monotonic()
    (warning,) = track(make_config(timeout_s=12.0), tmp_path)  # so 3 seconds for the start
    assert time.monotonic() - began_s < 12
    path = find_run(tmp_path, "offline-run")
    assert warning.startswith("Weights & Biases did not take the run (CommError: Timed out")
    assert warning.endswith(f"it is recorded offline: send it with `wandb sync {path.parent}`")
    assert_all_is_recorded(tmp_path)
    assert read_history(path)["perplexity/val"] == [
        row["perplexity"] for row in read_rows(tmp_path / "metrics.jsonl") if row["split"] == "val"
    ]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []


def test_recording_does_not_wait_for_a_silent_server(
    tmp_path: Path, online: Callable[[str], None], silent_url: str
) -> None:
    online(silent_url)
    tracker = Tracker(make_config(timeout_s=90.0), folder=tmp_path, run_id="austen-1", resume_step=0, warn=Warnings())
    began_s = time.monotonic()
    for measurement in make_measurements(steps=2_000):  # more than a pipe holds
        tracker.record(measurement)
    took_s = time.monotonic() - began_s
    tracker.abort()
    assert took_s < 12  # 6,000 appended lines, which take a second; the start alone may take 15


def test_end_does_not_wait_for_rows_that_a_silent_server_never_took(
    tmp_path: Path, online: Callable[[str], None], silent_url: str
) -> None:
    online(silent_url)
    tracker = Tracker(make_config(timeout_s=2.0), folder=tmp_path, run_id="austen-1", resume_step=0, warn=Warnings())
    for measurement in make_measurements(steps=2_000):
        tracker.record(measurement)
    began_s = time.monotonic()
    tracker.finish()
    assert time.monotonic() - began_s < 2 + 3  # the deadline, and what ending a process may take


@pytest.mark.parametrize("key", ["too-short-a-key", ""])
def test_wandb_with_a_wrong_key_or_none_is_recorded_offline(
    tmp_path: Path, online: Callable[..., None], closed_url: str, key: str
) -> None:
    online(closed_url, key)
    (warning,) = track(make_config(), tmp_path)
    assert "is recorded offline" in warning
    assert "too-short-a-key" not in warning
    assert find_run(tmp_path, "offline-run").is_file()


@pytest.mark.slow
def test_wandb_server_that_falls_silent_holds_the_end_up_until_the_deadline_only(
    tmp_path: Path, online: Callable[[str], None]
) -> None:
    with WandbServer(silent_after_start=True) as server:
        online(server.url)
        began_s = time.monotonic()
        (warning,) = track(make_config(timeout_s=20.0), tmp_path)  # so 12 seconds for the end
        took_s = time.monotonic() - began_s
    path = find_run(tmp_path, "run")
    assert took_s < 20 + 3  # what ending a process may take
    assert warning.endswith(f"what there is: `wandb sync {path.parent}`")
    assert len(read_history(path)["perplexity/val"]) == 3


def test_wandb_folder_that_cannot_be_written_is_one_warning_at_most(tmp_path: Path) -> None:
    (tmp_path / "wandb").write_text("in the way", encoding="utf-8")
    assert len(track(make_config(), tmp_path)) == 1
    assert_all_is_recorded(tmp_path)


def test_key_is_in_no_argument_of_a_process(tmp_path: Path, online: Callable[[str], None], silent_url: str) -> None:
    online(silent_url)
    tracker = Tracker(make_config(timeout_s=20.0), folder=tmp_path, run_id="austen-1", resume_step=0, warn=Warnings())
    deadline = time.monotonic() + STARTING_S
    while "wandb-core" not in str(lines := read_command_lines()):
        assert time.monotonic() < deadline, "wandb-core was not started"
        time.sleep(0.02)
    tracker.abort()
    assert any("ghostpen.training.wandb_process" in line for line in lines)
    assert [line for line in lines if KEY in line] == []


def read_command_lines() -> list[str]:
    """Read how the processes that this one has started were called; another test's may be called with its own key."""
    found = []
    for process_id in find_descendants(os.getpid()):
        with contextlib.suppress(OSError):  # ended meanwhile
            found.append(Path(f"/proc/{process_id}/cmdline").read_text(encoding="utf-8").replace("\0", " "))
    return found


# The process that talks to W&B, when it does not


def open_with(command: list[str], warnings: Warnings, folder: Path, *, timeout_s: float) -> WandbRecorder:
    return WandbRecorder(
        make_config(timeout_s=timeout_s),
        folder=folder,
        run_id="austen-1",
        resumed=False,
        rows=[],
        warn=warnings,
        command=command,
    )


def test_process_that_hangs_is_ended_at_the_deadline(tmp_path: Path) -> None:
    warnings = Warnings()
    recorder = open_with([sys.executable, "-c", "import time; time.sleep(60)"], warnings, tmp_path, timeout_s=0.3)
    began_s = time.monotonic()
    recorder.finish(failed=False)
    assert 0.3 <= time.monotonic() - began_s < 5
    (warning,) = warnings
    assert "was not done within 0.3 seconds" in warning
    assert recorder._process.returncode == -9


def test_process_that_crashes_is_one_warning(tmp_path: Path) -> None:
    warnings = Warnings()
    recorder = open_with([sys.executable, "-c", "raise SystemExit(3)"], warnings, tmp_path, timeout_s=STARTING_S)
    for measurement in make_measurements(steps=100):
        recorder.record_row(measurement.to_json())
    recorder.finish(failed=False)
    assert warnings == ["Weights & Biases failed (its process ended); metrics.jsonl holds every number"]


# What that process does, with a wandb that raises


class FakeRun:
    def __init__(self, wandb: "FakeWandb", mode: str) -> None:
        self.wandb, self.mode = wandb, mode
        self.settings = type("Settings", (), {"sync_dir": f"runs/austen/wandb/{mode}-run-1"})
        self.summary: dict[str, Any] = {}

    def define_metric(self, name: str, step_metric: str) -> None:
        self.wandb.call("define_metric", self.mode)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.wandb.call("log", self.mode)

    def finish(self, exit_code: int) -> None:
        self.wandb.call(f"finish {exit_code}", self.mode)


class FakeWandb:
    """A wandb whose calls of one name raise, in one mode."""

    class plot:
        @staticmethod
        def line_series(**_: Any) -> str:
            return "chart"

    def __init__(self, failing: str, mode: str, error: type[Exception] = OSError) -> None:
        self.failing, self.error, self.calls = (failing, mode), error, list[tuple[str, str]]()

    def call(self, name: str, mode: str) -> None:
        self.calls.append((name, mode))
        if (name, mode) == self.failing:
            raise self.error("no space left on device")

    def Settings(self, **_: Any) -> None:
        """Take all."""

    def init(self, *, mode: str, **_: Any) -> FakeRun:
        self.call("init", mode)
        return FakeRun(self, mode)

    def teardown(self) -> None:
        self.calls.append(("teardown", ""))


START = {"kind": "start", "project": "p", "run_id": "austen-1", "folder": "runs/austen", "resumed": False} | {
    "rows": [],
    "config": {},
    "init_timeout_s": 1.0,
    "finish_timeout_s": 1.0,
}


def serve_rows(wandb: FakeWandb, *, finish: bool = True) -> Warnings:
    warnings = Warnings()
    messages = [START, *({"kind": "row", "row": row.to_json()} for row in make_measurements())]
    messages += [{"kind": "finish", "exit_code": 0}] if finish else []
    serve(messages, wandb=wandb, environ={"WANDB_API_KEY": KEY}, tell=warnings)
    return warnings


def test_refused_start_goes_on_offline_with_all_rows() -> None:
    wandb = FakeWandb("init", "online")
    (warning,) = serve_rows(wandb)
    assert "offline: send it with `wandb sync runs/austen/wandb/offline-run-1`" in warning
    assert wandb.calls[:3] == [("init", "online"), ("teardown", ""), ("init", "offline")]
    # Nine rows, and a chart with each of the six that are validation, and one at the end.
    assert wandb.calls.count(("log", "offline")) == 9 + 6 + 1
    assert wandb.calls[-1] == ("finish 0", "offline")


@pytest.mark.parametrize(
    ("failing", "error", "told"),
    [
        ("log", OSError, "failed (OSError: no space left on device)"),
        ("finish 0", RuntimeError, "failed (RuntimeError: no space left on device)"),
        ("finish 0", TimeoutError, "did not take all in time (TimeoutError: no space left on device)"),
    ],
)
def test_wandb_that_raises_is_one_warning(failing: str, error: type[Exception], told: str) -> None:
    assert serve_rows(FakeWandb(failing, "online", error)) == [
        f"Weights & Biases {told}; metrics.jsonl holds every number; "
        "what there is: `wandb sync runs/austen/wandb/online-run-1`"
    ]


def test_training_that_dies_leaves_a_failed_run() -> None:
    wandb = FakeWandb("nothing", "")
    assert serve_rows(wandb, finish=False) == []
    assert wandb.calls[-1] == ("finish 1", "online")


# TensorBoard


def load_events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    return events.Reload()


def read_texts(events: Any) -> dict[str, str]:
    return {
        tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
        for tag in events.Tags()["tensors"]
        if "custom_scalars" not in tag
    }


def test_tensorboard_holds_curves_in_one_chart_and_the_numbers(tmp_path: Path) -> None:
    assert track(make_config(tracker="tensorboard"), tmp_path) == []
    events = load_events(tmp_path)
    rows = read_rows(tmp_path / "metrics.jsonl")
    for split in ("train", "val", "contrast_val"):
        read = [(event.step, event.value) for event in events.Scalars(f"perplexity/{split}")]
        expected = [(row["step"], row["perplexity"]) for row in rows if row["split"] == split]
        assert read == [(step, pytest.approx(value, rel=1e-6)) for step, value in expected]  # float32 in the file
    assert [event.value for event in events.Scalars("learning_rate/train")] == pytest.approx([1e-4] * 3)
    assert [event.value for event in events.Scalars("peak_memory_bytes/train")] == [1e9] * 3
    assert [event.value for event in events.Scalars("tokens_seen/val")] == [0, 100, 200]
    from tensorboard.plugins.custom_scalar import layout_pb2

    (tag,) = [tag for tag in events.Tags()["tensors"] if "custom_scalars" in tag]
    layout = layout_pb2.Layout.FromString(events.Tensors(tag)[0].tensor_proto.string_val[0])
    (chart,) = layout.category[0].chart
    assert list(chart.multiline.tag) == ["perplexity/train", "perplexity/val", "perplexity/contrast_val"]
    texts = read_texts(events)
    assert "| experts.down_proj | 4 | 65,536 |" in texts["targets/text_summary"]
    assert '"wandb_project": "ghostpen"' in texts["config/text_summary"]
    assert "Emma Woodhouse" not in str(texts)


def test_tensorboard_holds_samples_where_they_may_go(tmp_path: Path) -> None:
    track(make_config(tracker="tensorboard", send_samples=True), tmp_path)
    texts = read_texts(load_events(tmp_path))
    assert "Emma Woodhouse, handsome, >>> clever, and rich" in "".join(texts.values())


def test_tensorboard_after_a_resume_shows_each_step_once(tmp_path: Path) -> None:
    rows = make_measurements()
    config = make_config(tracker="tensorboard")
    track(config, tmp_path, rows=rows)
    track(config, tmp_path, rows=rows[6:], resume_step=1)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert [event.step for event in load_events(tmp_path).Scalars("perplexity/val")] == [0, 1, 2]


def test_tensorboard_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way", encoding="utf-8")
    (warning,) = track(make_config(tracker="tensorboard"), tmp_path)
    assert warning.startswith("tensorboard failed (")
    assert_all_is_recorded(tmp_path)


def test_tensorboard_needs_no_adapter(tmp_path: Path) -> None:
    recorder = TensorboardRecorder(make_config(), folder=tmp_path, resume_step=0)
    recorder.record_adapter(tmp_path)
    recorder.finish(failed=False)
    assert os.listdir(tmp_path) == ["tensorboard"]
