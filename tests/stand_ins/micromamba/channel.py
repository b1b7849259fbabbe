"""Writes a conda channel by hand: a Python, pip and a compiler, for a machine that reaches no conda channel.

What a channel must be is conda's own format: archives with an `info/` folder, and a repodata.json that lists them.
"""

import configparser
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

WRITTEN = 946684800  # a fixed time, so that the same files make the same archive, and no layer changes with it
SUBDIRS = ("linux-64", "noarch")
# Of a Python's own prefix: no packages, no tests, nothing that only a build of Python needs.
LEFT_OUT = (
    "/site-packages/",
    "/test/",
    "/__pycache__/",
    "/idlelib/",
    "/tkinter/",
    "/turtledemo/",
    "/ensurepip/_bundled/",
)
MACHINE = "x86_64-linux-gnu"
DEBIAN = "lib/debian"  # where programs of Debian's lie in an environment, with their own libraries


@dataclass(frozen=True)
class File:
    """A file of a package: its bytes, or where its link points; `prefix` is the path that installing replaces."""

    data: bytes = b""
    mode: int = 0o644
    link: str | None = None
    prefix: str | None = None


@dataclass(frozen=True)
class Package:
    """What one archive of the channel holds."""

    name: str
    version: str
    subdir: str
    files: Mapping[str, File]
    depends: tuple[str, ...] = ()
    build: str = "0"
    info: Mapping[str, Any] = field(default_factory=dict)


def write_channel(folder: Path, packages: list[Package]) -> None:
    """Write the archives, and the list of them that a solver reads."""
    records: dict[str, dict[str, Any]] = {subdir: {} for subdir in SUBDIRS}
    for package in packages:
        name, record = _write_package(folder, package)
        records[package.subdir][name] = record
    for subdir, listed in records.items():
        (folder / subdir).mkdir(parents=True, exist_ok=True)
        repodata = {"info": {"subdir": subdir}, "packages": listed, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata, indent=1), encoding="utf-8")


def read_python() -> Package:
    """Repack the Python that runs this, which must stand in a folder of its own, as pyenv builds it."""
    prefix = Path(sys.base_prefix).resolve()
    short = f"python3.{sys.version_info.minor}"
    if prefix == Path("/usr") or not (prefix / "bin" / short).exists():
        sys.exit(
            f"error: the stand-in base image packs the Python that runs this, and {prefix} is not a folder that "
            "holds nothing else; run it with a Python that pyenv built"
        )
    files = {
        path: _read_python_file(prefix / path, str(prefix).encode())
        for path in _list_files(prefix)
        if path.startswith(("lib/", "include/")) or path in {f"bin/{short}", "bin/python3", "bin/python"}
    }
    version = ".".join(map(str, sys.version_info[:3]))
    return Package("python", version, "linux-64", files)


def _list_files(prefix: Path) -> Iterator[str]:
    for root, _, names in os.walk(prefix):
        for name in names:
            path = str(Path(root, name).relative_to(prefix))
            if not any(part in f"/{path}" for part in LEFT_OUT) and not path.endswith(".a"):
                yield path


def _read_python_file(path: Path, prefix: bytes) -> File:
    if path.is_symlink():
        return File(link=os.readlink(path))
    data, mode = path.read_bytes(), path.stat().st_mode & 0o777
    if prefix not in data:
        return File(data, mode)
    if b"\0" not in data[:8192]:
        return File(data, mode, prefix=prefix.decode())
    # Of the programs only the search path of libraries matters, and that can be relative. Replacing the prefix
    # everywhere, as conda does, would hit libpython's version, which the linker keeps in the tail of the same string.
    if path.parent.name == "bin":
        search = prefix + b"/lib\0"
        data = data.replace(search, b"$ORIGIN/../lib".ljust(len(search), b"\0"))
    return File(data, mode)


def read_wheel(wheel: Path) -> Package:
    """Repack a wheel of Python code as conda does: files below site-packages, commands as entry points."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as opened:
        members = [item for item in opened.infolist() if not item.is_dir()]
        files = {f"site-packages/{item.filename}": File(opened.read(item)) for item in members}
        commands = configparser.ConfigParser()
        commands.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
        for item in members:
            if item.filename.endswith(".dist-info/entry_points.txt"):
                commands.read_string(opened.read(item).decode())
    scripts = commands.items("console_scripts") if commands.has_section("console_scripts") else []
    link = {"noarch": {"type": "python", "entry_points": [f"{key} = {value}" for key, value in scripts]}}
    info = {"info/link.json": link | {"package_metadata_version": 1}}
    return Package(name.lower().replace("_", "-"), version, "noarch", files, depends=("python",), info=info)


def unpack_debian(folder: Path, *names: str) -> None:
    """Fetch packages of Debian's, with all that they need, and unpack them below `folder`."""
    listed = subprocess.run(
        ["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
         "--no-replaces", "--no-enhances", *names],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    wanted = sorted({line for line in listed.splitlines() if line[:1].isalnum()})
    archives = folder.with_name(f"{folder.name}-archives")
    archives.mkdir(parents=True, exist_ok=True)
    # As root, apt fetches as a user of its own, who can't write here.
    fetch = ["apt-get", "download", "--quiet", "--quiet", "--option", "APT::Sandbox::User=root"]
    subprocess.run([*fetch, *wanted], cwd=archives, check=True)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, folder], check=True)
    shutil.rmtree(folder / "usr/share")


def read_tools(folder: Path) -> list[Package]:
    """Pack gcc, g++ and openssl, unpacked below `folder`, so that they need nothing that lies elsewhere."""
    gcc = _ask(next(folder.glob("usr/bin/x86_64-linux-gnu-gcc-[0-9]*")), "-dumpfullversion")
    openssl = _ask(folder / "usr/bin/openssl", "version").split()[1]
    major = gcc.partition(".")[0]
    compiler = f'x86_64-linux-gnu-{{name}}-{major}" --sysroot="$here" -B"$here/usr/bin"'
    files = {f"{DEBIAN}/{path}": _read_plain_file(folder / path) for path in _list_files_below(folder)}
    # What is compiled with OpenMP finds its library where the environment's other libraries are.
    openmp = {"lib/libgomp.so.1": File(link=f"debian/usr/lib/{MACHINE}/libgomp.so.1")}
    return [
        Package("debian", "12", "linux-64", files),
        Package("gcc", gcc, "linux-64", openmp | _wrap("gcc", compiler.format(name="gcc")), depends=("debian",)),
        Package("gxx", gcc, "linux-64", _wrap("g++", compiler.format(name="g++")), depends=(f"gcc {gcc}",)),
        Package("openssl", openssl, "linux-64", _wrap("openssl", 'openssl"'), depends=("debian",)),
    ]


def _wrap(name: str, program: str) -> dict[str, File]:
    script = (
        "#!/bin/sh\n"
        f'here=$(dirname "$(readlink -f "$0")")/../{DEBIAN}\n'
        f'export LD_LIBRARY_PATH="$here/usr/lib/{MACHINE}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"\n'
        f'exec "$here/usr/bin/{program} "$@"\n'
    )
    return {f"bin/{name}": File(script.encode(), 0o755)}


def _ask(program: Path, option: str) -> str:
    return subprocess.run([program, option], capture_output=True, text=True, check=True).stdout.strip()


def _list_files_below(folder: Path) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        yield from (str(Path(root, name).relative_to(folder)) for name in [*names, *links])


def _read_plain_file(path: Path) -> File:
    return File(link=os.readlink(path)) if path.is_symlink() else File(path.read_bytes(), path.stat().st_mode & 0o777)


def _write_package(folder: Path, package: Package) -> tuple[str, dict[str, Any]]:
    index = {
        "name": package.name, "version": package.version, "build": package.build, "build_number": 0,
        "depends": list(package.depends), "license": "unknown", "subdir": package.subdir,
    } | ({"noarch": "python"} if package.subdir == "noarch" else {"arch": "x86_64", "platform": "linux"})  # fmt: skip
    info: dict[str, Any] = {
        "info/index.json": index,
        "info/paths.json": {
            "paths_version": 1,
            "paths": [_describe(*item) for item in sorted(package.files.items())],
        },
        **package.info,
    }
    archive = folder / package.subdir / f"{package.name}-{package.version}-{package.build}.tar.bz2"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:bz2", compresslevel=1) as opened:
        for path, content in info.items():
            _add(opened, path, File(json.dumps(content).encode()))
        for path, file in sorted(package.files.items()):
            _add(opened, path, file)
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    return archive.name, index | {"size": archive.stat().st_size, "sha256": digest}


def _describe(path: str, file: File) -> dict[str, Any]:
    described: dict[str, Any] = {
        "_path": path,
        "path_type": "softlink" if file.link else "hardlink",
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "size_in_bytes": len(file.data),
    }
    return described | ({"prefix_placeholder": file.prefix, "file_mode": "text"} if file.prefix else {})


def _add(archive: tarfile.TarFile, path: str, file: File) -> None:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = file.mode, WRITTEN
    if file.link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, file.link
        archive.addfile(member)
    else:
        member.size = len(file.data)
        archive.addfile(member, BytesIO(file.data))
