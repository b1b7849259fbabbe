"""Builds a local image that is named and laid out like mambaorg/micromamba, for a machine that reaches no registry.

Debian comes from debootstrap, the conda channel from channel.py, the solver from PyPI (py-rattler). The machine's
own way to its package registry (pip's settings, certificates, wheels on its disk) goes into this image and into the
mounts of a build on it, so that the project's Dockerfile needs to know nothing of it.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tests.stand_ins.micromamba import channel

HERE = Path(__file__).parent
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# What runs inside the image. Pinned, so that the stand-in solves tomorrow as it does today.
SOLVER = ("py-rattler==0.28.0", "pyyaml==6.0.4")
PIP = "pip==26.3"


def build_base(image: str, *, workspace: Path, buildah: Sequence[str]) -> None:
    """Build the stand-in under the name `image`, in minutes the first time; what is in `workspace` is used again."""
    context = workspace / "context"
    context.mkdir(parents=True, exist_ok=True)
    _make_debian(context / "debian.tar", workspace)
    stamp = workspace / "stamp"
    made_by = hashlib.sha256(Path(__file__).read_bytes() + Path(channel.__file__).read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != made_by:
        _make_channel(context / "channels/conda-forge", workspace)
        _make_program(context / "micromamba", context / "channels/conda-forge")
        stamp.write_text(made_by, encoding="utf-8")
    shutil.copy(HERE / "micromamba.py", context / "micromamba")
    shutil.copytree(HERE / "files", context / "files", dirs_exist_ok=True)
    shutil.copy(CERTIFICATES, context / "ca-certificates.crt")
    (context / "pip.conf").write_text(render_pip_settings(read_pip_settings()), encoding="utf-8")
    subprocess.run(
        [*buildah, "bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--layers",
         "--file", HERE / "Dockerfile", "--tag", image, context],
        check=True,
    )  # fmt: skip


def read_pip_settings() -> dict[str, str]:
    """Read how pip on this machine reaches its packages: from its files and from the environment."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    found = re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listed, re.MULTILINE)
    return dict(found) | {"cert": str(CERTIFICATES)}


def render_pip_settings(settings: dict[str, str]) -> str:
    """Render them as a pip.conf."""
    return "\n".join(["[global]", *(f"{key} = {value}" for key, value in sorted(settings.items()))]) + "\n"


def find_pip_folders(settings: dict[str, str]) -> list[Path]:
    """Find the files and folders of this machine that pip's settings name, for a build to mount.

    The pages of an index (file:///wheels/simple) lead to files that lie beside it.
    """
    words = [word for value in settings.values() for word in value.split()]
    paths = {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:///")}
    paths |= {Path(word) for word in words if word.startswith("/")}
    return sorted(path for path in paths - {CERTIFICATES} if path.exists())


def _make_debian(archive: Path, workspace: Path) -> None:
    if archive.exists():
        return
    root, part = workspace / "debian", archive.with_suffix(".part")
    shutil.rmtree(root, ignore_errors=True)  # a debootstrap that was interrupted can't go on
    mirror = re.search(r"^(?:URIs: *|deb +(?:\[[^]]*\] +)?)(http\S+)", _read_apt_sources(), re.MULTILINE)
    subprocess.run(
        ["debootstrap", "--variant=minbase", "bookworm", root, mirror[1] if mirror else "http://deb.debian.org/debian"],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for settings in Path("/etc/apt/apt.conf.d").glob("99*"):  # the machine's own way to the mirror
        shutil.copy(settings, root / "etc/apt/apt.conf.d")
    subprocess.run(["tar", "--directory", root, "--create", "--file", part, "."], check=True)
    part.rename(archive)
    shutil.rmtree(root)


def _read_apt_sources() -> str:
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if path.exists())


def _make_channel(folder: Path, workspace: Path) -> None:
    wheels, debian = workspace / "wheels", workspace / "tools"
    for made in (folder, wheels, debian):
        shutil.rmtree(made, ignore_errors=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, PIP], check=True
    )
    channel.unpack_debian(debian, "gcc", "g++", "openssl")
    packages = [
        channel.read_python(),
        *map(channel.read_wheel, wheels.glob("pip-*.whl")),
        *channel.read_tools(debian),
    ]
    channel.write_channel(folder, packages)
    shutil.rmtree(debian)


def _make_program(folder: Path, channel_folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder / "packages"]
    subprocess.run([*install, *SOLVER], check=True)
    with tarfile.open(next(channel_folder.glob("linux-64/python-*.tar.bz2"))) as archive:
        archive.extractall(folder / "python", filter="tar")
