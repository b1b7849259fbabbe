"""`ghostpen prepare`: raw texts in, a folder of sections and a manifest out.

Owns the order of the steps and the folder. The folder appears whole or not at all: it is built beside its
place and renamed into it.
"""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ghostpen import __version__
from ghostpen.data.cleaning import CleanedDocument
from ghostpen.data.cleaning_pool import RawText, clean_documents
from ghostpen.data.counting import DEFAULT_TOKENIZER, TokenCounter, count_split, load_token_counter, read_versions
from ghostpen.data.deduplication import Repeat, drop_repeats, drop_shared_paragraphs
from ghostpen.data.documents import Document, document_id, fix_splits, slugify
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
from ghostpen.data.progress import Progress, ShowProgress, hide_progress
from ghostpen.data.redaction import Redactor
from ghostpen.data.review import Review
from ghostpen.data.sections import AUTHOR_SPLITS, CONTRAST_SPLITS, Section, document_key, save_sections
from ghostpen.data.sources import ReadingOptions, Source, UnreadFile, read_sources
from ghostpen.data.splitting import SplitSections, Traits, split_sections
from ghostpen.data.typography import unify_typography
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


@dataclass(frozen=True)
class _Plan:
    splits: dict[str, list[Section]]
    within_document: bool
    contrast_within_document: bool
    newest_in_test: bool
    dropped: Counter[str]
    repeats: tuple[Repeat, ...]
    repaired: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)


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

    The same inputs give the same bytes. A folder that holds the data of the same inputs is left alone.

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
    """
    out = Path(out)
    if not slugify(author):
        raise DataError("--author is empty; give the author's name, for example --author 'Jane Austen'")
    counter = load_token_counter(tokenizer)
    options = options or ReadingOptions()
    own = read_sources(sources, author=author, options=options)
    # Whoever is called like the author is not another author, said or unsaid.
    others = read_sources(contrast, author=None, options=replace(options, me=(*options.me, author)))
    documents = [_mask(_list_documents(side), redactor) for side in (own, others)]
    own, others = ([replace(source, documents=()) for source in side] for side in (own, others))  # texts are large
    is_plain = redactor is None and all(source.is_plain for source in own + others)
    inputs = Inputs(
        author=author,
        sources=[_record(source) for source in own],
        contrast=[_record(source) for source in others],
        val_docs=val_docs,
        test_docs=test_docs,
        seed=seed,
        texts_sha256=None if is_plain else _compute_texts_sha256(documents),
        tokenizer=counter.record,
        typography=typography,
    )
    unread = tuple(file for source in own + others for file in source.unread)
    if (found := _find_prepared(out, inputs)) is not None:
        return PreparedData(out, found, already_there=True, unread=unread)
    documents[0] = fix_splits(documents[0], val_docs=val_docs, test_docs=test_docs)
    plan = _plan_data(*documents, inputs=inputs, keep_texts=review is not None, show_progress=show_progress)
    for source in own + others:
        plan.dropped["files_of_other_types"] += source.files_of_other_types
        plan.dropped["empty_files"] += source.empty_files
        plan.dropped["unread_files"] += len(source.unread)
        plan.dropped.update(source.left_out)
        plan.repaired.update(source.repaired)
    plan.masked.update(redactor.masked if redactor else {})
    if review is not None and not review(
        Review(
            [*documents[0], *documents[1]], plan.splits, out, plan.repeats, plan.dropped, plan.repaired, plan.masked
        )
    ):
        return None
    manifest = _write_data(plan, inputs, out, counter)
    return PreparedData(out, manifest, already_there=False, unread=unread, repeats=plan.repeats)


def _mask(documents: Sequence[Document], redactor: Redactor | None) -> list[Document]:
    if redactor is None:
        return list(documents)
    return [replace(document, text=redactor.mask(document.text)) for document in documents]


def _compute_texts_sha256(sides: Sequence[Sequence[Document]]) -> str:
    digest = hashlib.sha256()
    for number, documents in enumerate(sides):
        for document in documents:
            row = [number, document.author, document.id, document.split, document.text]
            digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()


def _plan_data(
    own: list[Document], others: list[Document], *, inputs: Inputs, keep_texts: bool, show_progress: ShowProgress
) -> _Plan:
    """Decide every row, without touching the disk."""
    author, seed = inputs.author, inputs.seed
    if any(slugify(document.author) == slugify(author) for document in others):
        raise DataError(f"--contrast holds texts by {author}; take them out: contrast texts are by other authors")
    dropped: Counter[str] = Counter()
    fixed = {document_id(d): d.split for d in [*own, *others] if d.split is not None}
    repaired: Counter[str] = Counter()
    sections = [
        _clean_sections(documents, dropped, keep_texts=keep_texts, show_progress=show_progress)
        for documents in (own, others)
    ]
    if inputs.typography == "unified":
        sections = [_unify_sections(group, repaired) for group in sections]
    if not sections[0]:
        raise DataError("nothing is left of the author's texts after cleaning; give texts that hold prose")
    # The author's texts come before the others', and test before val before train: the first one stays.
    order = {"test": 0, "val": 1, None: 2, "train": 2}
    ranks = {document_id(d): order[d.split] + 3 * side for side, group in enumerate((own, others)) for d in group}
    with show_progress() as show:
        unique = drop_repeats(
            [section for group in sections for section in group], ranks=ranks, progress=show("comparing")
        )
    del sections
    dropped.update(repeat.rule for repeat in unique.repeats)
    kept_own, kept_others = (
        [s for s in unique.sections if (ranks[document_key(s)] > 2) is other] for other in (False, True)
    )
    identities = {document_id(d): f"{d.author}/{d.identity}" for d in [*own, *others] if d.identity}
    dates = {document_id(d): d.dated for d in own if d.dated is not None}
    traits = Traits(identities, dates)
    own_split = split_sections(kept_own, fixed=fixed, seed=seed, whose="the author's texts", traits=traits)
    other_split = None
    if others:
        other_split = split_sections(
            kept_others, fixed=fixed, seed=seed, whose="the contrast texts", traits=Traits(identities)
        )
    splits = dict(own_split.splits)
    if other_split is not None:
        splits |= {f"contrast_{split}": rows for split, rows in other_split.splits.items()}
    with show_progress() as show:
        _guard_train(splits, dropped, show)
    return _Plan(
        splits,
        own_split.within_document,
        _is_within(other_split),
        own_split.newest_in_test,
        +dropped,
        tuple(unique.repeats),
        repaired,
    )


def _is_within(split: SplitSections | None) -> bool:
    return split is not None and split.within_document


def _guard_train(splits: dict[str, list[Section]], dropped: Counter[str], show: Callable[[str], Progress]) -> None:
    """Take out of both train splits what a held-out split has: the control must not read the test either."""
    held_out = [section for split, rows in splits.items() if not split.endswith("train") for section in rows]
    for split in [split for split in splits if split.endswith("train")]:
        guarded = drop_shared_paragraphs(splits[split], held_out, progress=show(f"checking {split}"))
        if not guarded.sections:
            raise DataError(f"{split}: nothing is left to train on: all of it is in val or test too; add other texts")
        splits[split] = guarded.sections
        dropped["shared_paragraphs"] += guarded.dropped_paragraphs


def _clean_sections(
    documents: list[Document], dropped: Counter[str], *, keep_texts: bool, show_progress: ShowProgress
) -> list[Section]:
    """Return the sections of all documents, which lose their texts on the way unless those are wanted later."""
    sections: list[Section] = []
    total = sum(len(document.text) for document in documents)
    texts = (RawText(document.text, document.wrapped, document.headings) for document in documents)
    with show_progress() as show:
        for place, cleaned in enumerate(clean_documents(texts, total=total, progress=show("cleaning"))):
            document = documents[place]
            if not keep_texts:
                documents[place] = replace(document, text="")
            sections += _list_sections(document, cleaned, dropped)
    return sections


def _list_sections(document: Document, cleaned: CleanedDocument, dropped: Counter[str]) -> list[Section]:
    dropped.update(cleaned.dropped)
    dropped["empty_documents"] += not cleaned.sections
    last = len(cleaned.sections) - 1
    return [
        Section(text, document.author, document.id, i, starts_document=i == 0, ends_document=i == last)
        for i, text in enumerate(cleaned.sections)
    ]


def _unify_sections(sections: Iterable[Section], repaired: Counter[str]) -> list[Section]:
    unified: list[Section] = []
    for section in sections:
        text = unify_typography(section.text)
        repaired["typography"] += text.changes
        unified.append(replace(section, text=text.text))
    return unified


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


def _write_data(plan: _Plan, inputs: Inputs, out: Path, counter: TokenCounter) -> Manifest:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
            staged = Path(scratch) / out.name  # not the scratch folder itself, which only its owner can read
            staged.mkdir()
            for split in AUTHOR_SPLITS + CONTRAST_SPLITS:
                if split in plan.splits:
                    save_sections(plan.splits[split], staged / f"{split}.jsonl")
            if plan.repeats:
                save_repeats(plan.repeats, staged / REPEATS_NAME)
            manifest = Manifest(
                format_version=FORMAT_VERSION,
                ghostpen_version=__version__,
                inputs=inputs,
                within_document=plan.within_document,
                contrast_within_document=plan.contrast_within_document,
                newest_in_test=plan.newest_in_test,
                splits={split: count_split(rows, counter) for split, rows in plan.splits.items()},
                dropped=dict(sorted((+plan.dropped).items())),
                repaired=dict(sorted((+plan.repaired).items())),
                masked=dict(sorted((+plan.masked).items())),
                data_sha256=compute_data_sha256(staged),
                package_versions=read_versions(),
            )
            save_manifest(manifest, staged)
            os.replace(staged, out)
    except OSError as error:
        raise DataError(
            f"{out}: can't be written ({error.strerror}); nothing was left there: give another --out"
        ) from error
    return manifest


def _record(source: Source) -> SourceRecord:
    return SourceRecord(name=source.name, sha256=source.sha256, size_bytes=source.size_bytes)


def _list_documents(sources: Iterable[Source]) -> list[Document]:
    return [document for source in sources for document in source.documents]
