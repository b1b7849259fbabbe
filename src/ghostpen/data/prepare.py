"""`ghostpen prepare`: raw texts in, a folder of sections and a manifest out.

Owns the order of the steps and the folder. The folder appears whole or not at all: it is built in a work folder
beside its place (`ghostpen.data.work`) and renamed into it. Texts lie on the disk; in memory are their hashes.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ghostpen import __version__
from ghostpen.data.counting import DEFAULT_TOKENIZER, TokenCounter, count_split, load_token_counter, read_versions
from ghostpen.data.deduplication import Repeat
from ghostpen.data.documents import Document, fix_splits, slugify
from ghostpen.data.manifest import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    REPEATS_NAME,
    Inputs,
    Manifest,
    SourceRecord,
    check_unchanged,
    compute_data_sha256,
    load_manifest,
    save_manifest,
    save_repeats,
)
from ghostpen.data.planning import Plan, check_contrast, plan_data
from ghostpen.data.progress import ShowProgress, hide_progress
from ghostpen.data.redaction import Redactor
from ghostpen.data.review import Review
from ghostpen.data.sections import AUTHOR_SPLITS, CONTRAST_SPLITS, save_sections
from ghostpen.data.sides import clean_sides
from ghostpen.data.sources import ReadingOptions, Source, UnreadFile, read_sources
from ghostpen.data.stored import TextStore, open_store
from ghostpen.data.work import open_work, remove_stale
from ghostpen.errors import DataError


@dataclass(frozen=True)
class PreparedData:
    """Where the data lies, its manifest, and whether it was there before (then nothing was written).

    `unread` are the files that could not be read; `repeats` the documents and sections that went for others.
    """

    dir: Path
    manifest: Manifest
    already_there: bool
    unread: tuple[UnreadFile, ...] = ()
    repeats: tuple[Repeat, ...] = ()


def prepare_data(
    sources: Sequence[str | Path],
    *,
    author: str,
    out: Path,
    contrast: Sequence[str | Path] = (),
    val_docs: str | None = None,
    test_docs: str | None = None,
    seed: int = 0,
    options: ReadingOptions | None = None,
    redactor: Redactor | None = None,
    tokenizer: str = DEFAULT_TOKENIZER,
    typography: Literal["keep", "unified"] = "keep",
    review: Callable[[Review], bool] | None = None,
    show_progress: ShowProgress = hide_progress,
) -> PreparedData | None:
    """Read, clean, split and write an author's texts, and the contrast texts where there are any.

    The same inputs give the same bytes, in one run or after an interruption in two. A folder that holds the data of
    the same inputs is left alone.

    Args:
        sources: files, folders or `embedded:NAME`.
        author: the name that the reports will carry.
        out: the folder to write; new, empty, or written before from the same inputs.
        contrast: texts by other authors, a folder for each.
        val_docs: a glob over document ids or file names that go to val; likewise test_docs.
        test_docs: see val_docs.
        seed: decides which documents go where, as far as globs and folders don't.
        options: what a person says about the files: who they are in mails and chats, which column holds text.
        redactor: masks the documents; None masks nothing.
        tokenizer: counts the tokens, as `load_token_counter` takes it; no text depends on it.
        typography: "unified" writes all authors' quotes, dashes and blanks alike.
        review: is shown what would be written; where it says no, nothing is, and None returned.
        show_progress: shows a bar for a title.

    Raises:
        DataError: a source can't be used, there is too little text, or `out` holds something else.
        Interrupted: Ctrl-C; the next run of the same inputs takes up what was cleaned.
    """
    out = Path(out)
    if not slugify(author):
        raise DataError("--author is empty; give the author's name, for example --author 'Jane Austen'")
    counter = load_token_counter(tokenizer)
    options = options or ReadingOptions()
    with open_store(out) as store:
        own = read_sources(sources, author=author, options=options, store=store)
        # Whoever is called like the author is not another author, said or unsaid.
        options = replace(options, me=(*options.me, author))
        others = read_sources(contrast, author=None, options=options, store=store)
        sides = [_mask(_list_documents(side), redactor, store) for side in (own, others)]
        is_plain = redactor is None and all(source.is_plain for source in own + others)
        inputs = Inputs(
            author=author,
            sources=[_record(source) for source in own],
            contrast=[_record(source) for source in others],
            val_docs=val_docs,
            test_docs=test_docs,
            seed=seed,
            texts_sha256=None if is_plain else _compute_texts_sha256(sides),
            tokenizer=counter.record,
            typography=typography,
        )
        unread = tuple(file for source in own + others for file in source.unread)
        if (found := _find_prepared(out, inputs)) is not None:
            remove_stale(out)
            return PreparedData(out, found, already_there=True, unread=unread)
        sides[0] = fix_splits(sides[0], val_docs=val_docs, test_docs=test_docs)
        check_contrast(sides[1], author)
        counts = _count_sources(own + others, redactor)
        prepared = _execute(_Job(sides, inputs, out, counter, counts, review, show_progress))
    return None if prepared is None else replace(prepared, unread=unread)


@dataclass(frozen=True)
class _Counts:
    """How often each rule left something out, repaired and masked something."""

    dropped: Counter[str]
    repaired: Counter[str]
    masked: Counter[str]


def _count_sources(sources: Sequence[Source], redactor: Redactor | None) -> _Counts:
    counts = _Counts(Counter(), Counter(), Counter(redactor.masked if redactor else {}))
    for source in sources:
        counts.dropped["files_of_other_types"] += source.files_of_other_types
        counts.dropped["empty_files"] += source.empty_files
        counts.dropped["unread_files"] += len(source.unread)
        counts.dropped.update(source.left_out)
        counts.repaired.update(source.repaired)
    return counts


@dataclass(frozen=True)
class _Job:
    """All that is to be cleaned, decided and written, and how; the counts are those of reading."""

    sides: Sequence[Sequence[Document]]
    inputs: Inputs
    out: Path
    counter: TokenCounter
    counts: _Counts
    review: Callable[[Review], bool] | None
    show_progress: ShowProgress


def _execute(job: _Job) -> PreparedData | None:
    """Do it in a work folder."""
    with ExitStack() as stack:
        with _explain_writing(job.out):
            work = stack.enter_context(open_work(job.out, _compute_key(job.inputs)))
            cleaned = clean_sides(
                job.sides,
                work.units,
                unified=job.inputs.typography == "unified",
                counter=job.counter,
                show_progress=job.show_progress,
            )
            plan = plan_data(cleaned, job.sides, inputs=job.inputs, show_progress=job.show_progress)
        read = job.counts
        counts = _Counts(read.dropped + plan.dropped, read.repaired + cleaned.repaired, read.masked)
        # What goes wrong while somebody reads is not the disk's.
        if job.review is not None and not job.review(_review(plan, counts, job)):
            return None
        with _explain_writing(job.out):
            manifest = _write_data(plan, counts, job, work.staged)
    return PreparedData(job.out, manifest, already_there=False, repeats=plan.repeats)


@contextmanager
def _explain_writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{out}: can't be written ({error.strerror}); nothing was left there: give another --out"
        ) from error


def _review(plan: Plan, counts: _Counts, job: _Job) -> Review:
    documents = [document for side in job.sides for document in side]
    return Review(documents, plan.splits, job.out, plan.repeats, counts.dropped, counts.repaired, counts.masked)


def _compute_key(inputs: Inputs) -> str:
    """Hash all that decides what is cleaned, and how."""
    versions = json.dumps([__version__, read_versions()])
    return hashlib.sha256(f"{inputs.model_dump_json()}\n{versions}".encode()).hexdigest()


def _mask(documents: Sequence[Document], redactor: Redactor | None, store: TextStore) -> list[Document]:
    if redactor is None:
        return list(documents)
    return [replace(document, stored=store.add(redactor.mask(document.text))) for document in documents]


def _compute_texts_sha256(sides: Sequence[Sequence[Document]]) -> str:
    digest = hashlib.sha256()
    for number, documents in enumerate(sides):
        for document in documents:
            row = [number, document.author, document.id, document.split, document.text]
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _find_prepared(out: Path, inputs: Inputs) -> Manifest | None:
    """Return the manifest where `out` already holds what would be written, None where it is free.

    Raises:
        DataError: `out` holds anything else.
    """
    try:
        entries = {entry.name for entry in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise DataError(f"{out}: can't be used as --out ({error.strerror}); give a new folder") from error
    if not entries:
        return None
    if MANIFEST_NAME not in entries:
        raise DataError(f"{out}: holds files that ghostpen didn't write; give a new or empty folder as --out")
    manifest = load_manifest(out)
    if manifest.inputs != inputs:
        raise DataError(f"{out}: holds data of other inputs; give a new folder as --out, or delete this one")
    check_unchanged(manifest, out)
    return manifest


def _write_data(plan: Plan, counts: _Counts, job: _Job, staged: Path) -> Manifest:
    with job.show_progress() as show:
        for split in AUTHOR_SPLITS + CONTRAST_SPLITS:
            if split in plan.splits:
                save_sections(plan.splits[split], staged / f"{split}.jsonl", progress=show(f"writing {split}"))
    if plan.repeats:
        save_repeats(plan.repeats, staged / REPEATS_NAME)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        ghostpen_version=__version__,
        inputs=job.inputs,
        within_document=plan.within_document,
        contrast_within_document=plan.contrast_within_document,
        newest_in_test=plan.newest_in_test,
        splits={split: count_split(rows, job.counter) for split, rows in plan.splits.items()},
        dropped=dict(sorted((+counts.dropped).items())),
        repaired=dict(sorted((+counts.repaired).items())),
        masked=dict(sorted((+counts.masked).items())),
        data_sha256=compute_data_sha256(staged),
        package_versions=read_versions(),
    )
    save_manifest(manifest, staged)
    os.replace(staged, job.out)
    return manifest


def _record(source: Source) -> SourceRecord:
    return SourceRecord(name=source.name, sha256=source.sha256, size_bytes=source.size_bytes)


def _list_documents(sources: Iterable[Source]) -> list[Document]:
    return [document for source in sources for document in source.documents]
