"""What rehearse_image.py works with: Debian's container programs, where they keep things, a registry, an S3 server.

Everything lies below build/rehearsal, but for a note of podman's and buildah's on which blob is where, some kilobytes
in /var/lib/containers/cache. Nothing is left running.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
WORKSPACE = ROOT / "build/rehearsal"
# Debian 12's packages and a program of each.
PACKAGES = {
    "buildah": "buildah", "podman": "podman", "runc": "runc", "debootstrap": "debootstrap",
    "docker-registry": "docker-registry", "catatonit": "catatonit", "netavark": "/usr/lib/podman/netavark",
}  # fmt: skip
NEEDED_BYTES = 25e9
REGISTRY_BYTES = 6e9  # an image is 4: more are layers of earlier recipes, which nobody asks for
STARTED_S = 30  # a server that takes longer won't start at all
# podman's defaults ask for more file handles than an unprivileged machine may give, and for a newer cgroup hierarchy.
SETTINGS = """[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
MANIFEST_TYPES = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Storage:
    """A place for images and containers of its own, like another machine's."""

    name: str

    @property
    def folders(self) -> tuple[Path, Path]:
        """Where images lie, and where running containers keep their state."""
        return WORKSPACE / self.name / "storage", WORKSPACE / self.name / "run"

    def command(self, program: str) -> list[str]:
        """Begin a command of buildah's or podman's that works there."""
        root, state = map(str, self.folders)
        return [program, "--root", root, "--runroot", state]

    def name_image(self, image: str) -> str:
        """Name an image that lies there, for a copy from another place."""
        root, state = self.folders
        return f"containers-storage:[overlay@{root}+{state}]{image}"

    def end_containers(self) -> None:
        """End what runs there, and drop what an interrupted build or test has left."""
        if self.folders[0].exists():
            subprocess.run([*self.command("podman"), "stop", "--all", "--time", "5"], stdout=subprocess.DEVNULL)
            subprocess.run([*self.command("buildah"), "rm", "--all"], stdout=subprocess.DEVNULL)

    def drop_leftovers(self) -> None:
        """Drop the images that no name leads to: of earlier versions of the recipe, gigabytes each."""
        run([*self.command("buildah"), "rmi", "--prune"], stdout=subprocess.DEVNULL)

    def delete(self) -> None:
        """Delete everything there."""
        self.end_containers()
        root, _ = self.folders
        subprocess.run(["umount", str(root / "overlay")], stderr=subprocess.DEVNULL)  # mounted by the programs
        shutil.rmtree(WORKSPACE / self.name, ignore_errors=True)


def prepare_machine() -> None:
    """See that the programs are there, or install them, and that there is room; otherwise end with one line."""
    missing = [package for package, program in PACKAGES.items() if not shutil.which(program)]
    if os.geteuid() != 0 or (missing and not shutil.which("apt-get")):
        sys.exit(f"error: the rehearsal needs root and Debian's packages {' '.join(PACKAGES)}; {missing} not there")
    WORKSPACE.mkdir(parents=True, exist_ok=True)
    if not (WORKSPACE / "image").exists() and shutil.disk_usage(WORKSPACE).free < NEEDED_BYTES:
        sys.exit(f"error: {WORKSPACE}: the rehearsal needs {NEEDED_BYTES / 1e9:.0f} GB of free disk; make room there")
    if missing:
        print(f"installing Debian's {' '.join(missing)}", flush=True)
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], stdout=subprocess.DEVNULL)
    settings = WORKSPACE / "containers.conf"
    settings.write_text(SETTINGS, encoding="utf-8")
    os.environ["CONTAINERS_CONF"] = str(settings)


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Show a command and run it; one that fails ends the rehearsal."""
    words = [str(word) for word in command]
    print(f"$ {shlex.join(words)}", flush=True)
    done = subprocess.run(words, text=True, **options)
    if done.returncode:
        sys.exit(f"error: exit code {done.returncode} of {shlex.join(words[:6])} ...; what it said stands above")
    return done


@contextmanager
def start_server(command: Sequence[str], port: int) -> Iterator[None]:
    """Run a server on this machine for as long as the block lasts."""
    with (WORKSPACE / f"{Path(command[0]).name}.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + STARTED_S
        while not _is_open(port):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"error: {command[0]} did not start within {STARTED_S} seconds; see {log.name}")
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()


@contextmanager
def start_registry() -> Iterator[str]:
    """Run an image registry; gives its host and port. What was pushed stays for the next time."""
    folder, port = WORKSPACE / "registry", find_port()
    if folder.exists() and compute_size(folder) > REGISTRY_BYTES:
        shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    settings = WORKSPACE / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f'http: {{addr: "127.0.0.1:{port}"}}\n',
        encoding="utf-8",
    )
    with start_server(["docker-registry", "serve", str(settings)], port):
        yield f"127.0.0.1:{port}"


@contextmanager
def start_s3() -> Iterator[str]:
    """Run moto's S3 server; gives its URL. It keeps everything in memory."""
    port = find_port()
    with start_server([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
        yield f"http://127.0.0.1:{port}"


def read_layers(registry: str, repository: str, tag: str) -> dict[str, int]:
    """Ask a registry for the layers of an image: digest and compressed size."""
    request = urllib.request.Request(f"http://{registry}/v2/{repository}/manifests/{tag}")
    request.add_header("Accept", MANIFEST_TYPES)
    with urllib.request.urlopen(request, timeout=10) as answer:
        manifest = json.load(answer)
    return {layer["digest"]: layer["size"] for layer in manifest["layers"]}


def compute_size(folder: Path) -> int:
    """Add up a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find_port() -> int:
    """Find a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _is_open(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
