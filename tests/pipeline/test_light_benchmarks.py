"""The benchmarks that train nothing still run, and count what they say: at their smallest, without any timing."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.s3_server import make_bucket, serve_s3

pytestmark = [pytest.mark.pipeline, pytest.mark.slow]

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def find(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Import a benchmark by its name, as running it from its folder would."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    loaded = []

    def load(name: str) -> ModuleType:
        loaded.append(name)
        return __import__(name)

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


@pytest.fixture
def s3_url() -> Iterator[str]:
    """Start moto's server with the benchmark's bucket, and return its address."""
    with serve_s3() as url, make_bucket(url, "bench"):
        yield url


def test_idle_seconds_are_what_the_bill_has_beyond_the_work(find) -> None:
    idle = find("idle")
    line = idle.summarise(idle.measure())
    for case, found in line["cases"].items():
        assert found["idle_s"]["ours"] <= found["idle_s"]["timer"], case
        assert found["ours"]["after_s"] < 60, case  # it ends itself, or the deployment ends it
    # The simulator's container runs for 1800 s and uploads for 30; its timer ends an instance an hour after its boot.
    done = line["cases"]["completed"]
    assert (done["ours"]["work_s"], done["timer"]["work_s"]) == (1830, 1830)
    assert done["idle_s"]["timer"] == 3600 - 1830
    assert line["cases"]["no GPU on it"]["timer"] == {"before_s": 3600, "work_s": 0, "after_s": 0}
    assert idle.render_line(line).splitlines()[1].split()[0] == "completed"


def test_every_side_of_the_storage_benchmark_moves_the_same_files(find, s3_url, tmp_path: Path, monkeypatch) -> None:
    storage = find("storage")
    monkeypatch.setattr(storage, "SHAPES", {"small": (3, 1000)})
    monkeypatch.setattr(storage, "SIDES", ("ours", "aws"))  # s5cmd would have to be downloaded
    files = storage.build_files(tmp_path, "small")
    results = []
    for side in storage.SIDES:
        target = tmp_path / side
        target.mkdir()
        for step in storage.STEPS:
            command = storage.plan_command(
                side, step, files=files, target=target, uri=f"s3://bench/{side}", url=s3_url, s5cmd=tmp_path
            )
            results.append({"shape": "small", "side": side, "step": step} | storage.run_step(command, url=s3_url))
        storage.check_same(files, target)
        assert [path.stat().st_size for path in sorted(target.iterdir())] == [1000] * 3
    line = storage.summarise(results)
    ours, aws = (
        next(one for one in results if (one["side"], one["step"]) == (side, "pull")) for side in storage.SIDES
    )
    assert line["setting"]["repetitions"] == 1
    found = line["speed_ours_over_peer"]["small, pull"]["aws"]["median"]
    assert found == pytest.approx(aws["seconds"] / ours["seconds"], abs=0.006)


def test_starts_of_command_lines_are_compared_in_turns(find, tmp_path: Path) -> None:
    startup = find("startup")
    commands = startup.plan_commands(tmp_path, tmp_path)
    seconds = {side: [startup.run_once(*commands[side])] for side in ("ours", "trl", "python")}
    line = startup.summarise(seconds)
    ratio = line["speed_ours_over_peer"]["trl"]["median"]
    assert ratio == pytest.approx(seconds["trl"][0] / seconds["ours"][0], abs=0.006)
    assert [row.split()[0] for row in startup.render_line(line).splitlines()[1:]] == ["ours", "trl", "python"]


def test_sides_of_the_copying_benchmark_give_the_same_answers(find) -> None:
    copying = find("copying")
    line = copying.measure(samples=3, difflib_samples=1, repetitions=1)  # it ends where two sides do not agree
    seconds = line["cpu_seconds"]
    assert line["longest"] >= 5  # three pieces of 400 words share at least that with the author's other novels
    found = line["speed_ours_over_peer"]["sets"]["median"]
    assert found == pytest.approx(seconds["sets"] / seconds["ours"], rel=0.05)
    assert copying.render_table(line).splitlines()[0] == "1,200 words against 11.0 MB"


def test_page_of_benchmarks_shows_the_newest_results(find) -> None:
    table = find("table")
    page = table.PAGE.read_text(encoding="utf-8")
    made = table.render_table()
    assert table.replace_table(page, made) == page, "run .venv/bin/python benchmarks/table.py"
    assert {row.split(" | ")[0].removeprefix("| ").partition(":")[0] for row in made.splitlines()[2:]} >= {
        "training step", "exact perplexity", "prepare", "looking for copies", "paid without work, simulated", "image",
    }  # fmt: skip
