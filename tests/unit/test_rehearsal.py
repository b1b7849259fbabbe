"""The pure parts of `make rehearse-image`, which itself needs root, container programs and half an hour."""

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path

from tests.stand_ins.micromamba.base import find_pip_folders, render_pip_settings
from tests.stand_ins.micromamba.channel import File, Package, read_wheel, write_channel


def test_pip_s_settings_reach_the_image_and_its_folders_the_build(tmp_path: Path) -> None:
    wheels, index, constraints = tmp_path / "wheels", tmp_path / "index", tmp_path / "constraints.txt"
    wheels.mkdir()
    (index / "simple").mkdir(parents=True)
    constraints.touch()
    settings = {
        "find-links": str(wheels),
        "extra-index-url": f"file://{index}/simple file://{tmp_path}/none/simple https://packages.invalid/simple",
        "constraint": str(constraints),
    }
    assert find_pip_folders(settings) == [constraints, index, wheels]
    assert render_pip_settings({"timeout": "9", "cert": "/a"}) == "[global]\ncert = /a\ntimeout = 9\n"


def test_channel_lists_what_its_archives_hold(tmp_path: Path) -> None:
    files = {"bin/run": File(b"#!/old/bin/sh\n", 0o755, prefix="/old"), "bin/link": File(link="run")}
    write_channel(tmp_path, [Package("tool", "1.2", "linux-64", files, depends=("python",))])
    listed = json.loads((tmp_path / "linux-64/repodata.json").read_text(encoding="utf-8"))["packages"]
    archive = tmp_path / "linux-64/tool-1.2-0.tar.bz2"
    record = listed[archive.name]
    assert (record["name"], record["version"], record["depends"]) == ("tool", "1.2", ["python"])
    assert record["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert json.loads((tmp_path / "noarch/repodata.json").read_text(encoding="utf-8"))["packages"] == {}
    with tarfile.open(archive) as opened:
        described = json.load(opened.extractfile("info/paths.json") or [])["paths"]
        assert (opened.getmember("bin/run").mode, opened.getmember("bin/link").linkname) == (0o755, "run")
    assert [(path["_path"], path["path_type"], path.get("prefix_placeholder")) for path in described] == [
        ("bin/link", "softlink", None),
        ("bin/run", "hardlink", "/old"),
    ]


def test_wheel_becomes_a_package_of_any_python_with_its_commands(tmp_path: Path) -> None:
    wheel = tmp_path / "My_Tool-3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as written:
        written.writestr("my_tool/__init__.py", "")
        written.writestr("My_Tool-3.0.dist-info/entry_points.txt", "[console_scripts]\nmyTool = my_tool:main\n")
    package = read_wheel(wheel)
    assert (package.name, package.version, package.subdir) == ("my-tool", "3.0", "noarch")
    assert set(package.files) == {
        "site-packages/my_tool/__init__.py",
        "site-packages/My_Tool-3.0.dist-info/entry_points.txt",
    }
    assert package.info["info/link.json"]["noarch"]["entry_points"] == ["myTool = my_tool:main"]
