"""btr.yml, run by act: what is built, tested and released on a push to main, on a branch and on a pull request."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.workflows.act import Repository, WorkflowRun

VARIABLES = {
    "AWS_REGION": "eu-central-1",
    "AWS_BTR_ROLE_ARN": "arn:aws:iam::123456789012:role/btr",
    "ECR_REPOSITORY": "ghostpen",
    "ECR_CACHE_REPOSITORY": "ghostpen-cache",
}
REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
CACHE = f"type=registry,ref={REGISTRY}/ghostpen-cache:layers"
BUILD_AND_TEST = [
    "actions/checkout",
    "Free the disk",
    "Start a builder",
    "Build",
    "Test inside the image",
    "Read a report in a browser",
]
UNTIL_TESTED = [
    "actions/checkout",
    "Name every missing setting",
    "Free the disk",
    "Take the role to read and write the cache",
    "Sign in to ECR",
    "Start a builder",
    "Build",
    "Test inside the image",
    "Read a report in a browser",
]
RELEASE = ["Take the role to release", "Release under the commit", "Report the digest"]
# A fork's branch may be called main, too.
PULL_REQUEST = {"number": 7, "pull_request": {"head": {"ref": "main"}, "base": {"ref": "main"}}}

# A job that goes on from btr, as a deployment would.
READER = """
  reader:
    needs: btr
    runs-on: ubuntu-24.04
    steps:
      - run: echo read ${{ needs.btr.outputs.digest }}
"""

pytestmark = pytest.mark.slow

MakeRepository = Callable[[], Repository]


def push(repository: Repository, ref: str, variables: dict[str, str]) -> WorkflowRun:
    return repository.run("btr.yml", "push", {"ref": ref}, variables=variables)


def list_images(ecr: Any) -> list[dict[str, Any]]:
    return ecr.describe_images(repositoryName="ghostpen")["imageDetails"]


def find_builds(repository: Repository) -> list[list[str]]:
    return [call for call in repository.read_docker_calls() if call[:2] == ["buildx", "build"]]


def test_push_to_main_releases_the_tested_image_under_its_commit(
    make_repository: MakeRepository, ecr: Any, image_repository: str
) -> None:
    repository = make_repository()
    workflow = repository.checkout / ".github/workflows/btr.yml"
    workflow.write_text(workflow.read_text(encoding="utf-8") + READER, encoding="utf-8")
    commit = repository.make_commit()

    done = push(repository, "refs/heads/main", VARIABLES)

    assert done.exit_code == 0, done.log
    assert done.succeeded[:-1] == UNTIL_TESTED + RELEASE
    (image,) = list_images(ecr)
    assert image["imageTags"] == [commit]
    digest = image["imageDigest"]
    assert f"read {digest}\n" in done.log
    assert f"Summary - Commit {commit} is released as `ghostpen@{digest}`." in done.log
    first, second = find_builds(repository)
    assert f"REVISION={commit}" in first
    manifest = ecr.batch_get_image(repositoryName="ghostpen", imageIds=[{"imageDigest": digest}])["images"][0]
    assert (
        json.loads(manifest["imageManifest"])["config"]["digest"]
        == (repository.docker / "image/ghostpen").read_text()
    )
    assert f"type=image,name={REGISTRY}/ghostpen,push-by-digest=true,push=true" in second


def test_push_to_main_reads_and_writes_the_cache(make_repository: MakeRepository, image_repository: str) -> None:
    repository = make_repository()

    push(repository, "refs/heads/main", VARIABLES)

    first, second = find_builds(repository)
    assert first[first.index("--cache-from") + 1] == CACHE
    assert first[first.index("--cache-to") + 1] == f"{CACHE},mode=max,image-manifest=true,oci-mediatypes=true"
    assert "--cache-to" not in second


def test_tests_run_in_the_built_image_on_the_files_of_the_commit(
    make_repository: MakeRepository, image_repository: str
) -> None:
    repository = make_repository()

    push(repository, "refs/heads/topic", {})

    ran = json.loads((repository.docker / "run/ghostpen").read_text())
    assert ran["command"][-1] == "scripts/test"
    assert {"scripts/test", "docker/Dockerfile", ".github/workflows/btr.yml"} <= set(ran["files"])
    read = json.loads((repository.docker / "run/ghostpen as root").read_text())
    assert "scripts/test tests/unit/evaluation/html" in read["command"][-1]
    assert set(read["files"]) == set(ran["files"])


def test_failing_tests_release_nothing(make_repository: MakeRepository, ecr: Any, image_repository: str) -> None:
    repository = make_repository()
    (repository.docker / "tests-fail").touch()

    done = push(repository, "refs/heads/main", VARIABLES)

    assert done.exit_code == 1
    assert (done.succeeded, done.failed) == (UNTIL_TESTED[:-2], ["Test inside the image"])
    assert list_images(ecr) == []


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("pull_request", PULL_REQUEST),
        ("push", {"ref": "refs/heads/topic"}),
        ("push", {"ref": "refs/heads/topic/refs/heads/main"}),
    ],
)
def test_all_but_main_is_built_and_tested_without_aws(
    make_repository: MakeRepository, ecr: Any, image_repository: str, event: str, payload: dict[str, Any]
) -> None:
    repository = make_repository()

    done = repository.run("btr.yml", event, payload, variables=VARIABLES)

    assert done.exit_code == 0, done.log
    assert done.succeeded == BUILD_AND_TEST
    assert list_images(ecr) == []
    (build,) = find_builds(repository)
    assert not {"--cache-from", "--cache-to", "--output"} & set(build)
    assert "login" not in {call[0] for call in repository.read_docker_calls()}


def test_pull_request_without_any_setting_is_built_and_tested(make_repository: MakeRepository) -> None:
    done = make_repository().run("btr.yml", "pull_request", PULL_REQUEST, variables={})

    assert done.exit_code == 0, done.log
    assert done.succeeded == BUILD_AND_TEST


def test_missing_settings_are_named_in_one_message_before_anything_is_done(make_repository: MakeRepository) -> None:
    repository = make_repository()

    done = push(repository, "refs/heads/main", {"ECR_REPOSITORY": "ghostpen"})

    assert done.exit_code == 1
    assert done.steps == {"actions/checkout": "success", "Name every missing setting": "failure"}
    (message,) = [line for line in done.log.splitlines() if line.startswith("error: ")]
    assert message == (
        "error: not set: AWS_REGION (the region of both ECR repositories); "
        "AWS_BTR_ROLE_ARN (the role that this workflow takes to write to them); "
        "ECR_CACHE_REPOSITORY (the name of the repository for the layers of earlier builds); "
        "set them in the repository's Settings > Secrets and variables > Actions, "
        "see docs/release.md and docs/deploy.md"
    )
    assert repository.read_docker_calls() == []


def test_second_run_of_a_released_commit_reports_the_digest_that_is_there(
    make_repository: MakeRepository, ecr: Any, image_repository: str
) -> None:
    repository = make_repository()
    first = push(repository, "refs/heads/main", VARIABLES)
    (repository.docker / "forgets-layers").touch()  # a fresh runner's build is another image

    second = push(repository, "refs/heads/main", VARIABLES)

    assert second.exit_code == 0, second.log
    assert second.succeeded == UNTIL_TESTED + RELEASE
    (image,) = list_images(ecr)
    assert second.outputs["release.digest"] == first.outputs["release.digest"] == image["imageDigest"]


def test_image_that_is_not_the_tested_one_gets_no_tag(
    make_repository: MakeRepository, ecr: Any, image_repository: str
) -> None:
    repository = make_repository()
    (repository.docker / "forgets-layers").touch()

    done = push(repository, "refs/heads/main", VARIABLES)

    assert done.exit_code == 1
    assert done.failed == ["Release under the commit"]
    (image,) = list_images(ecr)
    assert "imageTags" not in image
    assert f"error: {image['imageDigest']} is not the tested image" in done.log


def test_missing_repository_is_named(make_repository: MakeRepository, aws_server: str) -> None:
    done = push(make_repository(), "refs/heads/main", VARIABLES)

    assert done.failed == ["Release under the commit"]
    assert "RepositoryNotFoundException" in done.log
    assert "'ghostpen' does not exist" in done.log
