"""Stands in for the `micromamba` program in the image, on py-rattler, which is a real conda solver and installer.

Knows what a Dockerfile and the base image's own scripts ask of it: `install`, `create` and `update` from files and
specs, `clean`, `list`, `run`, `shell hook` and `--version`. Anything else ends with an error that says so.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from rattler import Channel, ChannelConfig, Gateway, PrefixRecord, VirtualPackage, install, solve

ROOT = Path(os.environ.get("MAMBA_ROOT_PREFIX", "/opt/conda"))
# `channel_alias` is conda's own setting for where a channel's bare name lies.
SETTINGS = yaml.safe_load(Path("/etc/conda/condarc").read_text(encoding="utf-8"))
# What the base image's scripts evaluate. Enough of `micromamba activate` for one environment at a time.
HOOK = r"""
micromamba() {
    if [ "$1" != activate ]; then "$MAMBA_EXE" "$@"; return; fi
    export CONDA_PREFIX CONDA_DEFAULT_ENV="${2:-base}" CONDA_SHLVL=1
    case "$CONDA_DEFAULT_ENV" in
        base) CONDA_PREFIX="$MAMBA_ROOT_PREFIX" ;;
        */*) CONDA_PREFIX="$CONDA_DEFAULT_ENV" ;;
        *) CONDA_PREFIX="$MAMBA_ROOT_PREFIX/envs/$CONDA_DEFAULT_ENV" ;;
    esac
    [ -d "$CONDA_PREFIX/conda-meta" ] || { echo "no environment at '$CONDA_PREFIX'" >&2; return 1; }
    export PATH="$CONDA_PREFIX/bin:$PATH"
    for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do [ ! -f "$script" ] || . "$script"; done
}
"""


def find_prefix(name: str | None) -> Path:
    """Find an environment by its name, or by its path."""
    if name in (None, "base"):
        return ROOT
    return Path(name) if "/" in str(name) else ROOT / "envs" / str(name)


def read_files(paths: list[str]) -> tuple[list[str], list[str]]:
    """Read the specs and the channels of environment files."""
    specs: list[str] = []
    channels: list[str] = []
    for path in paths:
        described = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        for dependency in described.get("dependencies") or []:
            if not isinstance(dependency, str):
                sys.exit(f"stand-in micromamba: {path}: a `pip:` section is not covered")
            specs.append(dependency)
        channels += described.get("channels") or []
    return specs, channels


async def install_specs(prefix: Path, specs: list[str], channels: list[str]) -> None:
    """Solve for what is there and what is asked for, and link the answer into the environment."""
    alias = SETTINGS["channel_alias"].rstrip("/") + "/"
    installed = [PrefixRecord.from_path(str(path)) for path in (prefix / "conda-meta").glob("*.json")]
    records = await solve(
        [Channel(name, ChannelConfig(channel_alias=alias)) for name in channels],
        specs,
        gateway=Gateway(),
        locked_packages=installed,
        virtual_packages=[package.into_generic() for package in VirtualPackage.detect()],
    )
    for record in sorted(records, key=lambda record: str(record.name.normalized)):
        print(f"  + {record.name.normalized} {record.version} {record.build}  {record.channel}")
    options: dict[str, Any] = {"installed_packages": installed, "show_progress": False}
    await install(records, str(prefix), cache_dir=str(ROOT / "pkgs"), **options)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the subset of micromamba's options."""
    parser = argparse.ArgumentParser(prog="micromamba (stand-in)")
    parser.add_argument("--version", action="version", version="2.6.1 (stand-in)")
    environment = argparse.ArgumentParser(add_help=False)
    environment.add_argument("-n", "--name", "-p", "--prefix", dest="name")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("install", "create", "update"):
        added = verbs.add_parser(verb, parents=[environment])
        added.add_argument("-y", "--yes", action="store_true")
        added.add_argument("-f", "--file", action="append", default=[])
        added.add_argument("-c", "--channel", action="append", default=[])
        added.add_argument("specs", nargs="*")
    verbs.add_parser("list", parents=[environment])
    verbs.add_parser("run", parents=[environment]).add_argument("command", nargs=argparse.REMAINDER)
    clean = verbs.add_parser("clean")
    clean.add_argument("-a", "--all", action="store_true")
    clean.add_argument("-y", "--yes", action="store_true")
    shell = verbs.add_parser("shell")
    shell.add_argument("action", choices=["hook"])
    shell.add_argument("-s", "--shell", choices=["bash"])
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Do what the verb says."""
    options = parse_arguments(arguments)
    match options.verb:
        case "shell":
            print(HOOK)
        case "clean":
            shutil.rmtree(ROOT / "pkgs", ignore_errors=True)
        case "list":
            for path in sorted((find_prefix(options.name) / "conda-meta").glob("*.json")):
                record = json.loads(path.read_text(encoding="utf-8"))
                print(record["name"], record["version"], record["build"], record["channel"])
        case "run":
            prefix = find_prefix(options.name)
            os.environ.pop("PYTHONPATH", None)  # the stand-in's own
            os.environ |= {"CONDA_PREFIX": str(prefix), "PATH": f"{prefix}/bin:{os.environ['PATH']}"}
            os.execvp(options.command[0], options.command)
        case _:
            specs, channels = read_files(options.file)
            prefix = find_prefix(options.name)
            (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
            asyncio.run(install_specs(prefix, [*specs, *options.specs], [*channels, *options.channel]))
            with (prefix / "conda-meta/history").open("a", encoding="utf-8") as history:
                history.write(f"# update specs: {json.dumps([*specs, *options.specs])}\n")


main(sys.argv[1:])
# Threads of py-rattler 0.28 may still run Python while the interpreter ends, which then aborts (seen here).
sys.stdout.flush()
os._exit(0)
