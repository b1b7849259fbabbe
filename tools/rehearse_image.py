"""Build, test and run the image on a machine that reaches no image registry, and measure what a change uploads.

    python -m tools.rehearse_image [--clean] [-- PYTEST-ARG...]     # `make rehearse-image`

The Dockerfile is the real one, unchanged; what stands in for its base image is tests/stand_ins/micromamba, and
tests/stand_ins/README.md says what that cannot prove. Each step prints its commands; the first that fails ends all.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import boto3
from tests.stand_ins.micromamba import base
from tools.rehearsal_machine import (
    ROOT,
    WORKSPACE,
    Storage,
    compute_size,
    prepare_machine,
    read_layers,
    run,
    start_registry,
    start_s3,
)

IMAGE = "localhost/ghostpen"
DOCKERFILE = "docker/Dockerfile"
# Of the tests: the compilers that only the image promises, and one whole run of the commands.
SMOKE_TESTS = ("tests/unit/test_compiler.py", "tests/unit/test_house.py", "tests/pipeline/test_flow.py")
CHANGE_LIMIT_BYTES = 1_000_000
MEASURED = ROOT / "benchmarks/results/image.jsonl"
BUCKET = "rehearsal"
RUN_ID = "rehearsal"
SHORT = (
    "train.max_steps=4", "train.batch_size=4", "train.eval_every=2", "train.checkpoint_every=2",
    "eval.max_val_bytes=4000", "eval.continuations=4", "eval.topics=2", "eval.written_words=20",
    "eval.extraction_windows=4", "tracking.tracker=none",
)  # fmt: skip
# What comes back from S3.
RESULTS = (
    "adapter/adapter_model.safetensors",
    "control/adapter/adapter_model.safetensors",
    "report.json",
    "report.html",
    "log.txt",
)
# In the image, as its user.
LOOK_INSIDE = """
import os, pathlib, sys
assert os.getuid() != 0
for name in ("HOME", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "UNSLOTH_COMPILE_LOCATION"):
    folder = pathlib.Path(os.environ[name])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "written").touch()
assert pathlib.Path.cwd() == pathlib.Path.home()
private = {".git", ".env", ".netrc", ".aws", "requirements.lock"}
found = [f"{root}/{name}" for root, folders, files in os.walk("/", followlinks=False)
         if not root.startswith(("/proc", "/sys")) for name in {*folders, *files} & private]
assert not found, found
"""


def build_image(storage: Storage, tag: str, *, context: Path, revision: str, options: Sequence[str] = ()) -> None:
    """Build the Dockerfile as it stands; what differs from a build elsewhere is how pip reaches its packages."""
    mounts = [f"--volume={path}:{path}:ro" for path in base.find_pip_folders(base.read_pip_settings())]
    arguments = {"REVISION": revision, "SOURCE": "rehearsal", "VERSION": "0"}
    run(
        [*storage.command("buildah"), "bud", "--format", "docker", "--isolation", "chroot", "--network", "host",
         "--pull-never", "--layers", *mounts, *(f"--build-arg={key}={value}" for key, value in arguments.items()),
         *options, "--file", DOCKERFILE, "--tag", f"{IMAGE}:{tag}", "."],
        cwd=context,
    )  # fmt: skip


def read_base_name() -> str:
    """Read the name of the base image, which is what the stand-in is called."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / DOCKERFILE).read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


def check_context(storage: Storage) -> None:
    """See what the engine itself makes of .dockerignore: all of the code, and nothing that git doesn't keep."""
    recipe = WORKSPACE / "context.Dockerfile"
    recipe.write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
    buildah = storage.command("buildah")
    run([*buildah, "bud", "--ignorefile", ".dockerignore", "--file", recipe, "--tag", f"{IMAGE}:context", "."])
    made = run([*buildah, "from", f"{IMAGE}:context"], stdout=subprocess.PIPE).stdout.strip()
    mounted = Path(run([*buildah, "mount", made], stdout=subprocess.PIPE).stdout.strip())
    sent = {path.relative_to(mounted).as_posix() for path in mounted.rglob("*") if path.is_file()}
    run([*buildah, "rm", made], stdout=subprocess.DEVNULL)
    run([*buildah, "rmi", f"{IMAGE}:context"], stdout=subprocess.DEVNULL)
    tracked = set(run(["git", "ls-files"], stdout=subprocess.PIPE).stdout.splitlines())
    strange = {path for path in sent - tracked if not path.endswith(".py")}
    missing = {path for path in tracked if path.startswith("src/ghostpen/")} - sent
    if strange or missing:
        sys.exit(f"error: .dockerignore: sends {sorted(strange)}, leaves out {sorted(missing)}")
    print(f"{len(sent)} files are sent, all of them the project's")


def check_image(podman: Sequence[str], *, revision: str) -> None:
    """See what is written on the image, and look around in it as its user."""
    image = f"{IMAGE}:rehearsal"
    told = json.loads(run([*podman, "inspect", image], stdout=subprocess.PIPE).stdout)[0]["Config"]
    assert told["User"] == "mambauser", told["User"]
    assert told["Entrypoint"] == ["/usr/local/bin/_entrypoint.sh", "ghostpen"], told["Entrypoint"]
    assert told["Labels"]["org.opencontainers.image.revision"] == revision, told["Labels"]
    inside = ["--entrypoint", "/usr/local/bin/_entrypoint.sh", image, "python", "-c", LOOK_INSIDE]
    run([*podman, "run", "--rm", "--init", *inside])
    run([*podman, "run", "--rm", "--init", image, "--version"])


def write_texts(folder: Path) -> None:
    """Cut the beginnings of some works out of the packed samples: enough to train on for seconds."""
    for name, works, characters in (("austen", 6, 12_000), ("contrast", 12, 8_000)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(ROOT / f"src/ghostpen/assets/texts/{name}.zip") as packed:
            for member in packed.namelist()[:works]:
                text = packed.read(member).decode()[:characters]
                (folder / name / f"{Path(member).stem}.txt").write_text(text, encoding="utf-8")


def train_and_test(podman: Sequence[str], *, s3: str, revision: str) -> None:
    """Prepare, hand over, train and test, each in a container of its own; the last two have S3 alone in common."""
    work = WORKSPACE / "work"
    shutil.rmtree(work, ignore_errors=True)
    write_texts(work / "texts")
    work.chmod(0o777)  # the image's user is nobody on this machine
    account = {
        "AWS_ENDPOINT_URL": s3, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "no-key", "AWS_SECRET_ACCESS_KEY": "no-secret",
    }  # fmt: skip
    os.environ |= account  # a container is told the names alone, so that no list of processes shows a key
    ghostpen = [*podman, "run", "--rm", "--init", "--network", "host", *(f"--env={name}" for name in account)]
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    uri = f"s3://{BUCKET}/ghostpen"
    here = [*ghostpen, f"--volume={work}:/home/mambauser/here", f"{IMAGE}:rehearsal"]
    texts = ["here/texts/austen", "--author", "Jane Austen", "--contrast", "here/texts/contrast"]
    run([*here, "prepare", *texts, "--out", "here/data"])
    run([*here, "data", "push", "here/data", uri])
    client.upload_file(str(ROOT / "configs/tiny.toml"), BUCKET, "ghostpen/tiny.toml")
    settings = [part for setting in (*SHORT, f"storage.uri={uri}") for part in ("--set", setting)]
    for mode in ("train", "test"):
        options = ["--mode", mode, "--config", f"{uri}/tiny.toml", "--run-id", RUN_ID, *settings]
        run([*ghostpen, f"{IMAGE}:rehearsal", "run", *options])
    run([*here, "pull", RUN_ID, "--from", uri, "--out", "here/run"])
    missing = [name for name in RESULTS if not (work / "run" / name).is_file()]
    manifest = json.loads((work / "run/manifest.json").read_text(encoding="utf-8"))
    if missing or (manifest["git_commit"], manifest["finished"]) != (revision, True):
        sys.exit(f"error: {work / 'run'}: lacks {missing}, or its manifest is not a finished run's of {revision}")
    print(f"{manifest['step']} steps of author and control, and a test, came back from S3")


def measure_change(registry: str, *, storage: Storage, revision: str) -> None:
    """On another machine, with nothing but the registry's cache: change a line, build, push, and count the bytes."""
    other = Storage("other-machine")
    other.delete()
    name = read_base_name()
    run([*storage.command("buildah"), "push", "--quiet", name, other.name_image(name)])
    context = WORKSPACE / "changed"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    listed = run(["git", "ls-files", "-z"], stdout=subprocess.PIPE).stdout
    run(["xargs", "--null", "cp", "--parents", "--target-directory", context], input=listed)
    with (context / "src/ghostpen/errors.py").open("a", encoding="utf-8") as code:
        code.write("# changed\n")
    before = compute_size(WORKSPACE / "registry")
    cache = ["--tls-verify=false", "--cache-from", f"{registry}/cache"]
    build_image(other, "changed", context=context, revision=f"{revision}-changed", options=cache)
    push(other, "changed", registry)
    layers = [read_layers(registry, "ghostpen", tag) for tag in ("rehearsal", "changed")]
    new = {digest: size for digest, size in layers[1].items() if digest not in layers[0]}
    grown = compute_size(WORKSPACE / "registry") - before
    line = {
        "date": datetime.date.today().isoformat(),
        "image_bytes": sum(layers[0].values()),
        "layers": len(layers[0]),
        "new_layers": len(new),
        "new_bytes": sum(new.values()),
        "registry_grown_bytes": grown,
        "new_over_image": sum(new.values()) / sum(layers[0].values()),  # 1: an image in one layer
    }
    print(
        "the image is {image_bytes:,} bytes in {layers} layers; a changed line of code is {new_layers} new layer of "
        "{new_bytes:,} bytes, {new_over_image:.1e} of an image in one layer, and {registry_grown_bytes:,} bytes more "
        "in the registry".format(**line)
    )
    with MEASURED.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    other.delete()
    if not new or max(sum(new.values()), grown) >= CHANGE_LIMIT_BYTES:
        sys.exit(f"error: a change of code must upload something, and less than {CHANGE_LIMIT_BYTES:,} bytes")


def push(storage: Storage, tag: str, registry: str) -> None:
    """Push the image to the registry."""
    target = f"docker://{registry}/ghostpen:{tag}"
    run([*storage.command("buildah"), "push", "--quiet", "--tls-verify=false", f"{IMAGE}:{tag}", target])


def say(step: str, *, since: float) -> None:
    """Head the output of a step."""
    print(f"\n== {(time.monotonic() - since) / 60:.1f} min: {step}", flush=True)


def main(arguments: Sequence[str]) -> None:
    """Go through the steps."""
    os.chdir(ROOT)
    storage = Storage("image")
    if list(arguments) == ["--clean"]:
        storage.delete()
        Storage("other-machine").delete()
        shutil.rmtree(WORKSPACE, ignore_errors=True)
        return
    tests = list(arguments[1:]) if arguments[:1] == ["--"] else list(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    start = time.monotonic()
    prepare_machine()
    podman = storage.command("podman")
    revision = run(["git", "rev-parse", "HEAD"], stdout=subprocess.PIPE).stdout.strip()
    try:
        storage.end_containers()
        say("the stand-in base image", since=start)
        base.build_base(read_base_name(), workspace=WORKSPACE / "base", buildah=storage.command("buildah"))
        say("what is sent to a build", since=start)
        check_context(storage)
        with start_registry() as registry:
            say("the image, and its layers to the registry's cache", since=start)
            cache = ["--tls-verify=false", "--cache-to", f"{registry}/cache"]
            build_image(storage, "rehearsal", context=ROOT, revision=revision, options=cache)
            storage.drop_leftovers()
            push(storage, "rehearsal", registry)
            say("the image itself", since=start)
            check_image(podman, revision=revision)
            say("a changed line of code", since=start)
            measure_change(registry, storage=storage, revision=revision)
        say("the tests, in the image", since=start)
        run(["scripts/test-image", f"{IMAGE}:rehearsal", " ".join(podman), "--", *(tests or SMOKE_TESTS)])
        with start_s3() as s3:
            say("train and test, in the image", since=start)
            train_and_test(podman, s3=s3, revision=revision)
    finally:
        storage.end_containers()
    say("rehearsed", since=start)


if __name__ == "__main__":
    main(sys.argv[1:])
