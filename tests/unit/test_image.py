"""The image's recipe read as text: which layers, in which order, of which files. `make rehearse-image` builds it."""

import json
import re
import runpy
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "docker/Dockerfile"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
SPLIT = runpy.run_path(str(ROOT / "docker/split_lock.py"))
# A new one is a decision: none may carry a secret, which would stay in the image's history.
SETTINGS = {
    "ARG": {"BASE_IMAGE", "BASE_DIGEST", "REVISION", "SOURCE", "VERSION"},
    "ENV": {
        "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "UNSLOTH_COMPILE_LOCATION", "PYTHONUNBUFFERED",
        "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "GHOSTPEN_REVISION",
    },
}  # fmt: skip


def read_stages(text: str) -> dict[str, list[tuple[str, str]]]:
    """Read the instructions of each stage; those before the first FROM are the stage "", the last FROM is "final"."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: dict[str, list[tuple[str, str]]] = {"": []}
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            name = found[1] if (found := re.search(r" AS (\w+)$", rest)) else "final"
            stages[name] = []
        stages[list(stages)[-1]].append((word, rest.strip()))
    return stages


STAGES = read_stages(DOCKERFILE.read_text(encoding="utf-8"))
INSTRUCTIONS = [instruction for stage in STAGES.values() for instruction in stage]


def list_layers(stage: str) -> list[str]:
    """List what makes the layers of a stage, those of the stages below it first."""
    word, base = STAGES[stage][0]
    assert word == "FROM"
    below = list_layers(name) if (name := base.partition(" ")[0]) in STAGES else []
    return below + [rest for word, rest in STAGES[stage] if word in ("COPY", "ADD", "RUN")]


def test_stages_of_a_small_dockerfile_are_read() -> None:
    text = "ARG A=1\n# no\nFROM x:${A} AS one\nRUN a \\\n    && b\nFROM one\nCOPY --from=one /a /b\n"
    assert read_stages(text) == {
        "": [("ARG", "A=1")],
        "one": [("FROM", "x:${A} AS one"), ("RUN", "a && b")],
        "final": [("FROM", "one"), ("COPY", "--from=one /a /b")],
    }


def test_base_is_a_full_tag_with_room_for_its_digest() -> None:
    bases = [rest.partition(" ")[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert [base for base in bases if base not in STAGES] == ["${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}"]
    arguments = dict(rest.split("=", 1) for word, rest in STAGES[""] if word == "ARG")
    assert re.fullmatch(r"docker\.io/mambaorg/micromamba:\d+\.\d+\.\d+-debian\d+-slim", arguments["BASE_IMAGE"])
    assert re.fullmatch(r"(sha256:[0-9a-f]{64})?", arguments["BASE_DIGEST"])


def test_layers_are_in_the_order_in_which_they_change() -> None:
    marks = [
        "environment.yml /tmp", "micromamba install", "cuda.txt /tmp", "--requirement /tmp/lock/cuda.txt",
        "torch.txt /tmp", "--requirement /tmp/lock/torch.txt", "rest.txt /tmp", "--requirement /tmp/lock/rest.txt",
        "/tmp/assets ", "/tmp/code",
    ]  # fmt: skip
    layers = list_layers("final")
    assert len(layers) == len(marks)
    assert [mark for mark, layer in zip(marks, layers, strict=True) if mark not in layer] == []


def test_every_part_of_the_lock_is_installed_by_its_hashes_alone() -> None:
    options = "--no-cache-dir --no-deps --require-hashes --requirement"
    installs = [rest.partition(" install ")[2] for word, rest in STAGES["packages"] if word == "RUN"]
    assert installs == [f"{options} /tmp/lock/{part}.txt" for part in SPLIT["PARTS"]]


def test_layers_are_kept_and_given_up_by_buildah_s_cache_too() -> None:
    """It doesn't see what changes in a mount, and asks no registry after an instruction that makes no layer."""
    assert [rest for word, rest in INSTRUCTIONS if word == "RUN" and "--mount" in rest] == []
    layers = {"COPY", "RUN"}
    for name in ("environment", "lock", "packages", "wheel"):
        assert {word for word, _ in STAGES[name][1:]} == layers
    words = [word for word, _ in STAGES["final"][1:]]
    assert words == sorted(words, key=lambda word: word not in layers)


def test_image_runs_as_the_base_s_user_through_the_base_s_scripts() -> None:
    final = dict(STAGES["final"])
    assert json.loads(final["ENTRYPOINT"]) == ["/usr/local/bin/_entrypoint.sh", "ghostpen"]
    assert json.loads(final["CMD"]) == ["--help"]
    assert final["WORKDIR"] == "/home/$MAMBA_USER"
    assert {word for word, _ in INSTRUCTIONS} & {"USER", "SHELL"} == set()


def test_arguments_and_variables_are_the_known_ones() -> None:
    for word, known in SETTINGS.items():
        names = re.findall(r"(?:^|\s)([A-Z_]+)=", " ".join(rest for name, rest in INSTRUCTIONS if name == word))
        assert set(names) == known


def test_labels_say_where_the_image_comes_from_and_cost_no_layer() -> None:
    words = [word for word, _ in STAGES["final"]]
    assert words.index("ARG") > max(index for index, word in enumerate(words) if word == "COPY")
    labels = re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dict(STAGES["final"])["LABEL"])
    assert dict(labels).items() >= {"revision": "$REVISION", "source": "$SOURCE", "version": "$VERSION"}.items()


# .dockerignore: the last pattern that fits decides, a folder's fate is that of all in it, ** is any depth of folders.
def read_ignore(text: str) -> list[tuple[re.Pattern[str], bool]]:
    """Read the patterns, and whether each leaves out (True) or lets in."""
    patterns = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            parts = [part for part in line.removeprefix("!").split("/") if part]
            regex = "".join("(?:[^/]+/)*" if part == "**" else translate_part(part) + "/" for part in parts)
            patterns.append((re.compile(regex.removesuffix("/") + "(?:/.*)?"), not line.startswith("!")))
    return patterns


def translate_part(part: str) -> str:
    """Translate one part of a path: * and ? stop at a slash."""
    return re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


IGNORE = read_ignore((ROOT / ".dockerignore").read_text(encoding="utf-8"))


def is_sent(path: str, patterns: list[tuple[re.Pattern[str], bool]] = IGNORE) -> bool:
    """Tell whether a file goes into the build context."""
    return not ([leaves_out for pattern, leaves_out in patterns if pattern.fullmatch(path)] or [False])[-1]


@pytest.mark.parametrize(
    ("path", "sent"),
    [("a.md", False), ("keep/a.md", True), ("keep/sub/.env", False), (".env", False), ("keep/x/cache/a", False)],
)
def test_ignore_patterns_mean_what_docker_says(path: str, sent: bool) -> None:
    assert is_sent(path, read_ignore("# a comment\n*\n!keep\n**/.*\n**/cache\n")) is sent


@pytest.mark.parametrize(
    "path",
    [
        ".git/config", ".env", "data/mine/train.jsonl", "runs/austen/manifest.json", "my-texts/diary.txt", "diary.md",
        "build/texts/emma.txt", "wandb/run.wandb", "configs/deploy.toml", "src/ghostpen/.env", "src/diary.txt",
        "src/ghostpen/__pycache__/cli.pyc", "src/ghostpen.egg-info/PKG-INFO", "tests/conftest.py", "docker/notes.txt",
    ],
)  # fmt: skip
def test_what_is_private_or_needless_is_not_sent(path: str) -> None:
    assert not is_sent(path)


def test_all_that_is_sent_is_git_s_or_code() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("git says which files are the project's: run it in a clone, not in an unpacked copy")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = set(listed.splitlines())
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    there = [path for name in let_in for path in [ROOT / name, *(ROOT / name).rglob("*")] if path.is_file()]
    sent = {path for file in there if is_sent(path := file.relative_to(ROOT).as_posix())}
    assert [path for path in sent - tracked if not path.endswith(".py")] == []
    assert sent >= {path for path in tracked if path.startswith("src/ghostpen/")}


def test_all_that_the_dockerfile_copies_is_sent() -> None:
    copies = [rest.split() for word, rest in INSTRUCTIONS if word == "COPY" and "--from" not in rest]
    sources = {part for copy in copies for part in copy[:-1] if not part.startswith("--")}
    assert sources == {
        "environment.yml", "requirements.lock", "docker/split_lock.py", "pyproject.toml", "README.md", "LICENSE",
        "src",
    }  # fmt: skip
    assert all(is_sent(path) for path in sources - {"src"})


def test_environment_brings_the_python_of_the_lock_and_compilers() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    # Strings alone: a `pip:` section would install what no lock pins.
    specs = dict(re.fullmatch(r"([a-z]+)(.*)", spec).groups() for spec in environment["dependencies"])
    assert specs.keys() == {"python", "pip", "gcc", "gxx", "openssl"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = specs["python"].removeprefix("=")
    assert project["requires-python"] == f">={version},<3.{int(version.partition('.')[2]) + 1}"
    assert f"--python-version {version} " in LOCK
    assert DOCKERFILE.read_text(encoding="utf-8").count("/lib/python") == 2
    assert DOCKERFILE.read_text(encoding="utf-8").count(f"/lib/python{version}/") == 2


def read_pins(text: str) -> dict[str, set[str]]:
    """Read each pin's hashes."""
    pins: dict[str, set[str]] = {}
    for line in text.splitlines():
        if pin := re.match(r"([\w.-]+==\S+)", line):
            pins[pin[1]] = set()
        elif line.startswith("    --hash="):
            pins[list(pins)[-1]].add(line.split()[0])
    return pins


def test_parts_of_the_lock_add_up_to_the_lock() -> None:
    parts = {name: read_pins(text) for name, text in SPLIT["split_lock"](LOCK).items()}
    pins = [pin for part in parts.values() for pin in part]
    assert len(pins) == len(set(pins)) > 100
    assert {pin: hashes for part in parts.values() for pin, hashes in part.items()} == read_pins(LOCK)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("nvidia-cudnn-cu13", "cuda"), ("cuda-bindings", "cuda"), ("torch", "torch"), ("torchvision", "torch"),
        ("triton", "torch"), ("xformers", "torch"), ("bitsandbytes", "torch"), ("unsloth", "rest"), ("trl", "rest"),
        ("cut-cross-entropy", "rest"), ("setuptools", "rest"),
    ],
)  # fmt: skip
def test_pin_goes_to_the_part_of_its_layer(name: str, part: str) -> None:
    parts = SPLIT["split_lock"](LOCK)
    assert [found for found, text in parts.items() if re.search(rf"^{name}==", text, re.MULTILINE)] == [part]


def test_part_stays_the_same_when_only_other_pins_and_comments_change() -> None:
    one = "    --hash=sha256:" + "1" * 64
    lock = f"# by uv\ntorch==2.0 \\\n{one}\n    # via trl\ntyper==1.0 \\\n{one} \\\n{one}\n    # via\n    #   x\n"
    changed = lock.replace("# via trl", "# via\n    #   trl\n    #   peft").replace("typer==1.0", "typer==1.1")
    before, after = SPLIT["split_lock"](lock), SPLIT["split_lock"](changed)
    assert before == {"cuda": "", "torch": f"torch==2.0 \\\n{one}\n", "rest": f"typer==1.0 \\\n{one} \\\n{one}\n"}
    assert (after["torch"], after["rest"]) == (before["torch"], before["rest"].replace("1.0", "1.1"))


@pytest.mark.parametrize(
    "line", ["torch>=2.0", "-r more.txt", "torch==2.0", "    --hash=md5:1", "    --hash=sha256:"]
)
def test_line_of_the_lock_that_would_be_lost_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match=r"requirements\.lock:2: "):
        SPLIT["split_lock"](f"# by uv\n{line}\n")


ENGINE = """#!/bin/sh
printf '%s\\n' "$@" >"$0.arguments"
tar --list >"$0.files"
exit 3
"""


def test_script_sends_the_checkout_and_pytest_s_arguments_to_the_image(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("git says which files go in: run it in a clone, not in an unpacked copy")
    engine = tmp_path / "engine"
    engine.write_text(ENGINE, encoding="utf-8")
    engine.chmod(0o755)
    command = [ROOT / "scripts/test-image", "ghostpen:1", f"{engine} --root x", "--", "-k", "a or b"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 3  # the engine's own
    given = engine.with_suffix(".arguments").read_text(encoding="utf-8").splitlines()
    assert given[:3] == ["--root", "x", "run"]
    assert {"--rm", "--init", "--interactive"} <= set(given)
    assert given[given.index("--entrypoint") + 1 :][:3] == ["/usr/local/bin/_entrypoint.sh", "ghostpen:1", "sh"]
    assert given[-3:] == ["scripts/test", "-k", "a or b"]
    files = set(engine.with_suffix(".files").read_text(encoding="utf-8").splitlines())
    assert {"scripts/test", "pyproject.toml", "tests/conftest.py", "configs/tiny.toml"} <= files
    assert not [path for path in files if path.startswith((".git/", ".venv", "build/"))]


def test_script_without_an_image_says_how_it_is_called() -> None:
    done = subprocess.run([ROOT / "scripts/test-image"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: scripts/test-image IMAGE [ENGINE] [-- PYTEST-ARG...]\n"


def test_report_s_script_puts_a_browser_beside_the_image_s_packages(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("git says which files go in: run it in a clone, not in an unpacked copy")
    engine = tmp_path / "engine"
    engine.write_text(ENGINE, encoding="utf-8")
    engine.chmod(0o755)
    done = subprocess.run([ROOT / "scripts/test-report", "ghostpen:1", str(engine)], capture_output=True, text=True)
    assert done.returncode == 3  # the engine's own
    given = engine.with_suffix(".arguments").read_text(encoding="utf-8")
    assert given.startswith("run\n--rm\n--init\n--interactive\n--user\nroot\n--entrypoint\nsh\nghostpen:1\n")
    assert "--no-install-recommends chromium chromium-driver" in given
    assert "BROWSER_TESTS=required" in given  # a browser that is not there fails, and is not skipped
    files = set(engine.with_suffix(".files").read_text(encoding="utf-8").splitlines())
    assert "tests/unit/evaluation/html/test_browser.py" in files


def test_report_s_script_without_an_image_says_how_it_is_called() -> None:
    done = subprocess.run([ROOT / "scripts/test-report"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: scripts/test-report IMAGE [ENGINE]\n"
