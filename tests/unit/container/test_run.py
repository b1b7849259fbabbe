"""One attempt at a run, with a small program in place of the training: what is in S3 after each kind of end."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostpen.aws.bundle import list_bundles, pull_bundle, push_bundle, read_bundle
from ghostpen.aws.s3 import ObjectStore
from ghostpen.container.job import Job
from ghostpen.errors import CloudError, ConfigError, DataError, JobFailed

MakeJob = Callable[..., Job]
Do = Callable[..., None]

TEMPLATE = Path(__file__).parents[3] / "infra/ghostpen.yaml"


def list_names(store: ObjectStore, name: str) -> set[str]:
    manifest = read_bundle(store, name)
    assert manifest is not None, name
    return {entry.path for entry in manifest.files}


def read_text(store: ObjectStore, name: str, file: str, folder: Path) -> str:
    pull_bundle(store, name, folder, select=file.__eq__)
    return (folder / file).read_text(encoding="utf-8")


def read_outcome(store: ObjectStore, attempt: int, folder: Path) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads(
        read_text(store, f"runs/run-1/attempts/{attempt}", "outcome.json", folder / f"outcome-{attempt}")
    )
    return outcome


def read_status(store: ObjectStore) -> dict[str, Any]:
    content = store.read_object("runs/run-1/status.json")
    assert content is not None
    status: dict[str, Any] = json.loads(content)
    return status


@pytest.mark.usefixtures("data")
def test_training_leaves_results_checkpoints_log_and_outcome(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path
) -> None:
    do(make_job(), ["print", "learning"], ["checkpoint", 2], ["sleep", 1.5], ["checkpoint", 4], ["finish"])

    for role in ("author", "control"):
        assert list_names(store, f"runs/run-1/results/{role}") == {
            "adapter/adapter.bin", "manifest.json", "metrics.jsonl",
        }  # fmt: skip
    for step in (2, 4):
        assert list_names(store, f"runs/run-1/author/checkpoint-{step}") == {
            f"checkpoints/checkpoint-{step}/adapter.bin", f"checkpoints/checkpoint-{step}/seal.json", "manifest.json",
            "metrics.jsonl",
        }  # fmt: skip
    assert list_names(store, "runs/run-1/attempts/1") == {"log.txt", "outcome.json"}
    log = read_text(store, "runs/run-1/attempts/1", "log.txt", tmp_path / "log").splitlines()
    assert log[:2] == ["run run-1", f"train, attempt 1: s3://container/some/where in {tmp_path / 'work'}"]
    assert "learning" in log
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"], outcome["mode"]) == ("finished", 0, "train")
    status = read_status(store)
    assert (status["phase"], status["outcome"], status["step"]) == ("ended", "finished", 2)  # the control's
    assert not (tmp_path / "work/.staged/author").exists() or not any((tmp_path / "work/.staged/author").iterdir())


@pytest.mark.usefixtures("data")
def test_checkpoints_alone_are_tagged_for_the_lifecycle_rule_of_the_bucket(
    store: ObjectStore, bucket: Any, make_job: MakeJob, do: Do
) -> None:
    do(make_job(), ["checkpoint", 2], ["finish"])

    template = yaml.safe_load(re.sub(r"!\w+", "", TEMPLATE.read_text(encoding="utf-8")))
    rules = template["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    wanted = [filter for rule in rules for filter in rule.get("TagFilters", ())]
    assert len(wanted) == 1
    tags = {
        item.key.removeprefix("some/where/"): store.client.get_object_tagging(Bucket=bucket.name, Key=item.key)[
            "TagSet"
        ]
        for item in bucket.objects.all()
    }
    assert {key for key, tag in tags.items() if tag} == {
        key for key in tags if "/checkpoint-" in key.partition("/files/")[0]
    }
    assert [tag for tag in tags.values() if tag and tag != wanted] == []
    assert any(tags.values())


@pytest.mark.usefixtures("data")
def test_training_gets_the_splits_that_it_reads_and_no_credentials_of_aws(
    make_job: MakeJob, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    do(job, ["print variables"], ["finish"])

    assert {path.name for path in (job.work / "data").iterdir()} == {
        "manifest.json", "train.jsonl", "val.jsonl", "contrast_train.jsonl", "contrast_val.jsonl",
    }  # fmt: skip
    variables = next(line for line in capfd.readouterr().out.splitlines() if "PATH" in line).split()
    assert [name for name in variables if name.startswith("AWS_")] == []


def test_data_without_other_authors_train_no_control(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path
) -> None:
    files = {name: tmp_path / name for name in ("manifest.json", "train.jsonl", "val.jsonl", "test.jsonl")}
    for path in files.values():
        path.touch()
    push_bundle(store, "data", files, info={})

    do(make_job(), ["finish"], control=[["fail", 1, "error: a control was trained"]])

    assert list_bundles(store, "runs/run-1/results") == ["author"]


@pytest.mark.usefixtures("data")
def test_control_is_not_trained_where_it_is_not_wanted(store: ObjectStore, make_job: MakeJob, do: Do) -> None:
    do(make_job(control=False), ["finish"], control=[["fail", 1, "error: a control was trained"]])
    assert list_bundles(store, "runs/run-1/results") == ["author"]


@pytest.mark.usefixtures("data")
def test_secret_in_the_output_reaches_neither_terminal_nor_log_nor_s3(
    make_job: MakeJob, do: Do, bucket: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    secrets = {"WANDB_API_KEY": "canary-wandb-0123", "HF_TOKEN": "canary-hf-4567", "AWS_SESSION_TOKEN": "canary-aws"}
    job = make_job()
    secrets |= {"COMET_AUTH": "canary-comet-89", "GHOSTPEN_SECRETS_NAMES": "WANDB_API_KEY HF_TOKEN COMET_AUTH"}
    told = f"key {secrets['WANDB_API_KEY']}! and {secrets['COMET_AUTH']}"
    says = [["print", told], ["fail", 1, f"error: token {secrets['HF_TOKEN']} refused"]]

    with pytest.raises(JobFailed) as caught:
        do(job, *says, environ=os.environ | secrets)

    shown = capfd.readouterr()
    stored = b"".join(item.get()["Body"].read() for item in bucket.objects.all())
    written = b"".join(path.read_bytes() for path in job.work.rglob("*") if path.is_file())
    for place in (shown.out.encode(), shown.err.encode(), stored, written):
        assert b"canary" not in place
    assert "key ***! and ***" in shown.out
    assert caught.value.message == "train (author): token *** refused"
    assert b"token *** refused" in stored


@pytest.mark.usefixtures("data")
def test_training_that_fails_says_why_once_and_leaves_what_there_was(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed, match="^train .author.: the loss became nan$") as caught:
        do(make_job(), ["checkpoint", 2], ["fail", 1, "error: the loss became nan"])

    assert caught.value.exit_code == 1
    assert "the loss became nan" not in capfd.readouterr().err  # who called says it
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"]) == ("failed", 1)
    assert outcome["reason"] == "train (author): the loss became nan"
    assert list_names(store, "runs/run-1/attempts/1") == {
        "log.txt", "outcome.json", "author/manifest.json", "author/metrics.jsonl",
    }  # fmt: skip
    assert list_names(store, "runs/run-1/author/checkpoint-2")
    assert list_bundles(store, "runs/run-1/results") == []


@pytest.mark.usefixtures("data")
def test_failure_of_the_control_leaves_the_author_finished_and_only_the_control_s_rest(
    store: ObjectStore, make_job: MakeJob, do: Do
) -> None:
    with pytest.raises(JobFailed, match="^train .control.: no$"):
        do(make_job(), ["finish"], control=[["checkpoint", 2], ["fail", 2, "error: no"]])
    assert list_bundles(store, "runs/run-1/results") == ["author"]
    assert list_names(store, "runs/run-1/attempts/1") == {
        "log.txt", "outcome.json", "control/manifest.json", "control/metrics.jsonl",
    }  # fmt: skip


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("number", "outcome", "text"),
    [
        (signal.SIGKILL, "killed", "was killed .SIGKILL.: most often the machine had no memory left"),
        (signal.SIGSEGV, "failed", "ended with SIGSEGV; the log says more"),
    ],
)
def test_training_that_dies_is_named_and_its_checkpoint_saved(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path, number: int, outcome: str, text: str
) -> None:
    with pytest.raises(JobFailed, match=text) as caught:
        do(make_job(), ["checkpoint", 2], ["die", int(number)])

    assert caught.value.exit_code == 128 + number
    assert read_outcome(store, 1, tmp_path)["outcome"] == outcome
    assert list_names(store, "runs/run-1/author/checkpoint-2")


@pytest.mark.usefixtures("data")
def test_same_run_id_goes_on_in_an_empty_folder_from_the_newest_and_the_best_checkpoint(
    store: ObjectStore, make_job: MakeJob, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["checkpoint", 2], ["checkpoint", 4], ["checkpoint", 10], ["fail", 1, "error: no"])
    capfd.readouterr()

    do(make_job(work="elsewhere"), ["say where from"], ["finish"])

    shown = capfd.readouterr().out
    assert "author: going on from step 10\n" in shown
    assert "going on with ['checkpoint-10', 'checkpoint-2']" in shown  # 2 is the best: training_program.py says so
    assert read_status(store)["attempt"] == 2


@pytest.mark.usefixtures("data")
def test_finished_training_comes_back_and_the_verb_is_asked_whether_it_is_the_same(
    store: ObjectStore, make_job: MakeJob, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["finish"], control=[["fail", 2, "error: of the control"]])
    capfd.readouterr()
    job = make_job(work="elsewhere")

    do(job, ["fail", 1, "error: trained again"])

    shown = capfd.readouterr().out
    assert "author: finished before; its results came from S3\nnothing to do\n" in shown
    assert (job.locate("author") / "adapter/adapter.bin").read_text() == "final weights"
    assert list_bundles(store, "runs/run-1/results") == ["author", "control"]


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("spoil", ["change", "delete", "manifest"])
def test_newest_checkpoint_that_is_damaged_is_left_out_and_written_anew(
    make_job: MakeJob, do: Do, bucket: Any, capfd: pytest.CaptureFixture[str], spoil: str
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["checkpoint", 2], ["checkpoint", 4], ["fail", 1, "error: no"])
    name = "author/checkpoint-4/manifest.json" if spoil == "manifest" else "checkpoint-4/adapter.bin"
    damaged = next(item for item in bucket.objects.all() if item.key.endswith(name))
    damaged.delete() if spoil == "delete" else damaged.put(Body=b"wEights of step 4")
    capfd.readouterr()

    with pytest.raises(JobFailed):
        do(make_job(work="elsewhere"), ["say where from"], ["checkpoint", 4], ["fail", 1, "error: no"])

    shown = capfd.readouterr().out
    assert "runs/run-1/author/checkpoint-4 is not whole and is left out: " in shown
    assert "going on with ['checkpoint-2']" in shown
    do(make_job(work="third"), ["say where from"], ["finish"])
    assert "going on with ['checkpoint-2', 'checkpoint-4']" in capfd.readouterr().out


@pytest.mark.usefixtures("data")
def test_checkpoint_that_was_damaged_before_it_was_sent_is_left_out(
    make_job: MakeJob, do: Do, store: ObjectStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["checkpoint", 2], ["fail", 1, "error: no"])
    files = {}
    for name, text in (("adapter.bin", "other weights"), ("seal.json", '{"sha256": {"adapter.bin": "0"}}')):
        (tmp_path / name).write_text(text)
        files[f"checkpoints/checkpoint-4/{name}"] = tmp_path / name
    push_bundle(store, "runs/run-1/author/checkpoint-4", files, info={})
    capfd.readouterr()

    do(make_job(work="elsewhere"), ["say where from"], ["finish"])

    shown = capfd.readouterr().out
    assert "checkpoint-4 is not whole and is left out: its files are not those that were sealed" in shown
    assert "going on with ['checkpoint-2']" in shown


@pytest.mark.usefixtures("data")
def test_checkpoint_that_can_t_be_brought_is_no_reason_to_begin_anew(
    make_job: MakeJob, do: Do, store: ObjectStore
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["checkpoint", 2], ["fail", 1, "error: no"])

    class FarStore(ObjectStore):
        def read_object(self, name: str, **options: Any) -> bytes | None:
            if "checkpoint-2/" in name:
                raise CloudError("s3://container did not answer")
            return super().read_object(name, **options)

    with pytest.raises(CloudError, match="^s3://container did not answer$"):
        do(make_job(work="elsewhere"), ["finish"], store=FarStore(store.client, store.location))
    assert list_bundles(store, "runs/run-1/results") == []


@pytest.mark.usefixtures("data")
def test_folder_that_is_further_than_s3_is_kept_and_sent(
    store: ObjectStore, make_job: MakeJob, do: Do, bucket: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobFailed):
        do(make_job(), ["checkpoint", 2], ["checkpoint", 4], ["fail", 1, "error: no"])
    bucket.objects.filter(Prefix="some/where/runs/run-1/author/checkpoint-4/").delete()
    capfd.readouterr()

    with pytest.raises(JobFailed):
        do(make_job(), ["say where from"], ["fail", 1, "error: no"])

    assert "author: going on from step 4\n" in capfd.readouterr().out
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-2", "checkpoint-4"]  # and no second checkpoint-2


@pytest.mark.usefixtures("data")
def test_folder_of_another_run_is_refused(make_job: MakeJob, do: Do, tmp_path: Path) -> None:
    do(make_job(), ["finish"])
    do(make_job(run_id="run-2", work="elsewhere"), ["finish"])
    for mode in ("train", "test"):  # whose results are in S3
        with pytest.raises(
            DataError, match="work/runs/mine holds the run run-1, and this one is run-2; name another"
        ):
            do(make_job(mode, run_id="run-2"), ["finish"])
    manifest = make_job().locate("author") / "manifest.json"
    assert json.loads(manifest.read_text())["run_id"] == "run-1"


@pytest.mark.usefixtures("data")
def test_folder_of_other_data_is_refused(make_job: MakeJob, do: Do, bucket: Any) -> None:
    do(make_job(), ["finish"])
    for item in bucket.objects.filter(Prefix="some/where/data/"):
        item.delete()
    store = ObjectStore(bucket.meta.client, _location())
    folder = make_job().work.parent / "prepared"
    files = {name: folder / name for name in ("manifest.json", "train.jsonl", "val.jsonl")}
    push_bundle(store, "data", files, info={})
    with pytest.raises(DataError, match=r"work/data holds contrast_train.jsonl, contrast_val.jsonl of other data"):
        do(make_job(), ["finish"])


def _location() -> Any:
    from ghostpen.aws.s3 import S3Location

    return S3Location("container", "some/where")


@pytest.mark.usefixtures("data")
def test_test_takes_the_results_and_numbers_its_report(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path
) -> None:
    do(make_job(), ["finish"])
    job = make_job("test", work="elsewhere")

    for _ in range(2):
        do(job, ["report"])

    assert {path.name for path in (job.work / "data").iterdir()} == {
        "manifest.json", "test.jsonl", "contrast_test.jsonl", "train.jsonl", "val.jsonl", "contrast_train.jsonl",
    }  # fmt: skip
    assert (job.locate("control") / "adapter/adapter.bin").is_file()
    for number in (1, 2):
        assert list_names(store, f"runs/run-1/tests/{number}") == {"report.json", "report.html", "specificity.png"}
    assert read_outcome(store, 3, tmp_path)["mode"] == "test"


@pytest.mark.usefixtures("data")
def test_test_of_an_unfinished_run_says_what_to_train(make_job: MakeJob, do: Do) -> None:
    with pytest.raises(ConfigError, match="runs/run-1/results/author is not there, .* --mode train"):
        do(make_job("test"), ["report"])


def test_run_without_data_says_how_to_push_them(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="s3://container/some/where/data holds no complete data; put them there with"):
        do(make_job(), ["finish"])
    assert read_outcome(store, 1, tmp_path)["outcome"] == "failed"


class GoneStore(ObjectStore):
    """S3, but no bundle whose name holds a word can be completed."""

    word = "results"

    def write_object(self, name: str, data: bytes, **options: Any) -> bool:
        if self.word in name:
            raise CloudError("s3://container/some/where did not answer")
        return super().write_object(name, data, **options)


@pytest.mark.usefixtures("data")
def test_s3_that_is_gone_at_the_end_leaves_the_results_here_and_says_where(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job()

    with pytest.raises(CloudError) as caught:
        do(job, ["finish"], store=GoneStore(store.client, store.location))

    assert caught.value.message == (
        "not in S3: results of the author, results of the control (s3://container/some/where did not answer); "
        f"they are in {job.work}, and the same command goes on there"
    )
    shown = capfd.readouterr().out  # the control was trained all the same
    assert shown.count("warning: not yet in S3: results of the author: ") >= 2
    assert (job.locate("control") / "adapter/adapter.bin").is_file()
    outcome = read_outcome(store, 1, tmp_path)
    assert (outcome["outcome"], outcome["exit_code"]) == ("failed", 2)

    do(job, ["fail", 1, "error: trained again"], control=[["fail", 1, "error: trained again"]])
    assert list_bundles(store, "runs/run-1/results") == ["author", "control"]


@pytest.mark.usefixtures("data")
def test_checkpoint_that_could_not_be_sent_does_not_stop_the_training_and_is_tried_again(
    store: ObjectStore, make_job: MakeJob, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    class OnceGone(GoneStore):
        word = "checkpoint-2"

        def write_object(self, name: str, data: bytes, **options: Any) -> bool:
            try:
                return super().write_object(name, data, **options)
            finally:
                self.word = self.word if self.word not in name else "nothing"

    script = [["checkpoint", 2], ["sleep", 1.5], ["checkpoint", 4], ["finish"]]
    do(make_job(control=False), *script, store=OnceGone(store.client, store.location))

    shown = capfd.readouterr().out
    assert shown.count("warning: not yet in S3: checkpoint 2 of the author: ") == 1
    assert list_bundles(store, "runs/run-1/author") == ["checkpoint-2", "checkpoint-4"]


@pytest.mark.usefixtures("data")
def test_report_of_a_test_is_sent_when_s3_is_back(store: ObjectStore, make_job: MakeJob, do: Do) -> None:
    class AwayStore(ObjectStore):
        is_away = True

        def write_object(self, name: str, data: bytes, **options: Any) -> bool:
            if self.is_away and "tests" in name:
                self.is_away = False
                raise CloudError("s3://container/some/where did not answer", passing=True)
            return super().write_object(name, data, **options)

    do(make_job(), ["finish"])
    do(make_job("test"), ["report"], store=AwayStore(store.client, store.location))
    assert list_bundles(store, "runs/run-1/tests") == ["1"]


@pytest.mark.usefixtures("data")
def test_log_that_can_t_be_sent_is_an_error_where_all_else_went_well(
    store: ObjectStore, make_job: MakeJob, do: Do, capfd: pytest.CaptureFixture[str]
) -> None:
    class NoAttempts(GoneStore):
        word = "attempts"

    job = make_job(control=False)
    with pytest.raises(CloudError, match="did not answer"):
        do(job, ["finish"], store=NoAttempts(store.client, store.location))
    assert f"warning: the log of this attempt is not in S3, but in {job.work}/log.txt: " in capfd.readouterr().out
    assert list_bundles(store, "runs/run-1/results") == ["author"]


@pytest.mark.usefixtures("data")
def test_number_of_an_attempt_that_another_has_taken_meanwhile_is_left_to_it(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path
) -> None:
    other = tmp_path / "log.txt"
    other.write_text("of the other")
    script = [["touch and sleep", 0], ["wait for", str(tmp_path / "go on")], ["finish"]]

    class TakenStore(ObjectStore):
        def write_object(self, name: str, data: bytes, **options: Any) -> bool:
            if name.endswith("attempts/1/manifest.json"):
                push_bundle(store, "runs/run-1/attempts/1", {"log.txt": other}, info={})
            return super().write_object(name, data, **options)

    (tmp_path / "go on").touch()
    do(make_job(control=False), *script, store=TakenStore(store.client, store.location))

    assert list_names(store, "runs/run-1/attempts/1") == {"log.txt"}
    assert list_names(store, "runs/run-1/attempts/2") == {"log.txt", "outcome.json"}


@pytest.mark.usefixtures("data")
def test_record_that_the_disk_refuses_is_in_s3_all_the_same(
    store: ObjectStore, make_job: MakeJob, do: Do, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = make_job()
    (job.work / "outcome.json").mkdir(parents=True)
    with pytest.raises(JobFailed, match="^train .author.: no$"):
        do(job, ["block", str(job.work / ".staged")], ["checkpoint", 2], ["fail", 3, "error: no"])

    shown = capfd.readouterr().out
    assert f"warning: {job.work}/outcome.json can't be written: Is a directory; it goes to S3 alone\n" in shown
    assert f"warning: the rest of {job.locate('author')} is not in S3: Not a directory\n" in shown
    assert read_status(store)["exit_code"] == 3
    assert list_names(store, "runs/run-1/attempts/1") == {"log.txt", "outcome.json"}
    assert read_outcome(store, 1, tmp_path)["reason"] == "train (author): no"
    assert "error: train (author): no\n" in read_text(store, "runs/run-1/attempts/1", "log.txt", tmp_path)
