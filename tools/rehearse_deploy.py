"""Deploy the real image: deploy.yml by act, a simulated account, instances whose containers are podman's.

    python -m tools.rehearse_deploy     # `make rehearse-deploy`, after `make rehearse-image`

From the workflow's first step to the container's last line all is real, but for the account, systemd and the GPU
(tests/stand_ins/README.md). The first instance is let find out that there is no GPU; after that one is pretended.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.stand_ins.aws.faults import InstanceFault, Smoke
from tests.workflows.act import Started, WorkflowRun
from tests.workflows.stage import PREFIX, SECRET, Stage, make_s3, open_stage
from tools.rehearsal_machine import (
    MANIFEST_TYPES,
    ROOT,
    STARTED_S,
    WORKSPACE,
    Storage,
    prepare_machine,
    run,
    start_registry,
)
from tools.rehearse_image import SHORT, say, write_texts

BUCKET = "rehearsal-deploy"
LIMIT_S = 1800  # of one deployment, the first of which pulls gigabytes
ACCOUNT_REGISTRY = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
CHECKPOINTS = f"{PREFIX}/runs/lost/author/checkpoint-"
CONTROL = f"{PREFIX}/runs/lost/results/control/manifest.json"


def read_digest(registry: str) -> str:
    """Ask the registry for the digest of the rehearsed image."""
    request = urllib.request.Request(f"http://{registry}/v2/ghostpen/manifests/rehearsal", method="HEAD")
    request.add_header("Accept", MANIFEST_TYPES)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers["Docker-Content-Digest"])
    except urllib.error.HTTPError:
        sys.exit(f"error: {WORKSPACE}: there is no image to deploy; make it with: make rehearse-image")


@contextmanager
def start_engine(registry: str) -> Iterator[list[str]]:
    """Run podman as the daemon of all instances; gives its client. The account's registry is the one given.

    Whoever may talk to it is root on this machine, as with docker: its socket lies in a folder that goes with it.
    """
    settings = WORKSPACE / "registries.conf"
    settings.write_text(
        f'[[registry]]\nprefix = "{ACCOUNT_REGISTRY}"\nlocation = "{registry}"\ninsecure = true\n', encoding="utf-8"
    )
    storage = Storage("instances")
    storage.delete()  # of a rehearsal that was killed, whose containers have the names of this one's
    with TemporaryDirectory(prefix="ghostpen-engine-") as folder:
        socket = Path(folder) / "socket"
        command = [*storage.command("podman"), "system", "service", "--time=0", f"unix://{socket}"]
        environment = os.environ | {"CONTAINERS_REGISTRIES_CONF": str(settings)}
        with (WORKSPACE / "engine.log").open("w") as log:
            service = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            wait_for(socket.exists, "podman's service does not start", limit_s=STARTED_S)
            os.chmod(folder, 0o711)
            socket.chmod(0o666)
            # The client has defaults of its own, which need the same settings.
            own = Path(shutil.copy(WORKSPACE / "containers.conf", folder))
            own.chmod(0o644)
            yield ["env", f"CONTAINERS_CONF={own}", "podman", "--remote", "--url", f"unix://{socket}"]
        finally:
            service.terminate()
            service.wait(timeout=STARTED_S)
            storage.delete()


def wait_for(condition: Callable[[], object], what: str, *, limit_s: float = LIMIT_S) -> None:
    """Wait until something is so, or end the rehearsal."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"error: {what}, within {limit_s:.0f} s")
        time.sleep(0.2)


def push_data(stage: Stage) -> None:
    """Prepare a little text, and put it where the deployments look for it."""
    work = WORKSPACE / "deploy"
    shutil.rmtree(work, ignore_errors=True)
    write_texts(work / "texts")
    ghostpen = str(Path(sys.executable).with_name("ghostpen"))
    texts = [work / "texts/austen", "--author", "Jane Austen", "--contrast", work / "texts/contrast"]
    run([ghostpen, "prepare", *texts, "--out", work / "data"])
    run([ghostpen, "data", "push", work / "data", stage.uri], env=os.environ | stage.server.make_environment("owner"))


def write_settings(stage: Stage) -> str:
    """Put the demo's settings, with few steps, into the repository."""
    lines = (ROOT / "configs/tiny.toml").read_text(encoding="utf-8").splitlines()
    short = dict(setting.split("=") for setting in SHORT)
    for name, value in short.items():
        section, key = name.split(".")
        lines = [line for line in lines if not line.startswith(f"{key} =")]
        if f"[{section}]" not in lines:
            lines.append(f"[{section}]")
        lines.insert(lines.index(f"[{section}]") + 1, f"{key} = {value if value[0].isdigit() else json.dumps(value)}")
    return stage.write_config("short", "\n".join(lines) + "\n")


def deploy(stage: Stage, *, outcome: str, seen: Sequence[str], **inputs: str) -> None:
    """Run the workflow, and hold its end against what is expected: its outcome, its words, and an account at 0."""
    start = time.monotonic()
    done: WorkflowRun = stage.dispatch(limit_s=LIMIT_S, **inputs)
    found = done.outputs.get("deploy.outcome", "none")
    missing = [text for text in [*seen, "desired capacity 0, no instance (seen so from "] if text not in done.log]
    if found != outcome or missing or stage.left or SECRET in done.log:
        sys.exit(f"{done.log}\nerror: outcome {found}, not said: {missing}, left in the account: {stage.left}")
    print(
        f"{inputs}: {outcome}, desired capacity 0 and no instance, after {time.monotonic() - start:.0f} s", flush=True
    )


def exists(stage: Stage, key: str) -> bool:
    """Look for a key, or for anything below it."""
    return "Contents" in make_s3(stage.server).list_objects_v2(Bucket=BUCKET, Prefix=key)


def lose_job(stage: Stage, config: str) -> None:
    """Kill everything of the job in the middle of the training, and see the instance come home without it."""
    started: Started = stage.start(mode="train", run_id="lost", config=config)
    wait_for(lambda: exists(stage, CHECKPOINTS), f"nothing was trained:\n{started.read_log()}")
    started.lose()
    if exists(stage, CONTROL):
        sys.exit("error: the training was over before the job was lost; nothing is shown by that")
    wait_for(lambda: stage.left == ["action ghostpen-lost"], "the instance did not give itself back")
    if not exists(stage, CONTROL):
        sys.exit("error: the instance gave itself back without its results")
    print("job lost in the middle of the training: whole results in S3, no instance, only the scheduled action left")


def main() -> None:
    """Go through the steps."""
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is ended
    start = time.monotonic()
    prepare_machine()
    image = {"WANDB_MODE": "offline", "CUDA_VISIBLE_DEVICES": ""}
    no_gpu = InstanceFault((("smoke", Smoke.NO_CUDA),))  # of the first instance
    with TemporaryDirectory(prefix="ghostpen-stage-") as folder, start_registry() as registry:
        digest = read_digest(registry)
        with (
            start_engine(registry) as engine,
            open_stage(
                Path(folder),
                bucket=BUCKET,
                container_environment=image,
                engine=engine,
                digest=digest,
                faults=[no_gpu],
            ) as stage,
        ):
            push_data(stage)
            config = write_settings(stage)
            say("an instance without a GPU: the image is pulled and looks for one", since=start)
            deploy(stage, outcome="gpu-smoke-failed", seen=["CUDA"], mode="train", run_id="none", config=config)
            say("train", since=start)
            trained = ["on the author's held-out text"]
            deploy(stage, outcome="completed", seen=trained, mode="train", run_id="whole", config=config)
            say("test its adapter", since=start)
            deploy(stage, outcome="completed", seen=[], mode="test", run_id="whole")
            say("lose the job", since=start)
            lose_job(stage, config)
            if found := stage.server.simulator.find_in_requests(SECRET):
                sys.exit(f"error: a secret stands in requests: {found}")
    say("rehearsed", since=start)


if __name__ == "__main__":
    main()
