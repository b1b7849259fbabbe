"""In place of `scripts/install-deploy`, which asks the package index: the same packages, as the tests have them.

Links to those packages alone, and to ghostpen, lie in a folder, and that is all that the command can import beside
Python's own library.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import distribution
from pathlib import Path

LAUNCHER = """\
import sys
sys.path.insert(0, {folder!r})
from ghostpen.cli import app
app(prog_name="ghostpen")
"""


def link_packages(names: Iterable[str], folder: Path, *, source: Path) -> None:
    """Put links to the named distributions, and to ghostpen in `source`, into a folder."""
    folder.mkdir(parents=True)
    for name in names:
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (folder / top).symlink_to(Path(str(found.locate_file(top))))
    (folder / "ghostpen").symlink_to(source / "ghostpen")


def make_command(names: Iterable[str], target: Path, *, source: Path) -> list[str]:
    """Link the packages below `target`, and give the command that runs ghostpen with them alone."""
    packages = target / "packages"
    link_packages(names, packages, source=source)
    launcher = target / "launcher.py"
    launcher.write_text(LAUNCHER.format(folder=str(packages)), encoding="utf-8")
    return [sys.executable, "-I", "-S", str(launcher)]
