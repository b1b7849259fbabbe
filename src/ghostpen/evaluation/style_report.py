"""The report's part about style: what each model wrote, beside what the author and others wrote.

Owns which texts each metric is given. Every metric is proved on real text first; where that, or the written text, is
too little, there is one sentence instead of numbers. Must not know models or files.
"""

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

from ghostpen.data.sections import Section
from ghostpen.errors import NothingCountedError, UnprovenError
from ghostpen.evaluation.c2st import Pair, compute_c2st, cut_pairs, prove_c2st
from ghostpen.evaluation.delta import compute_ceiling, compute_delta, fit_delta
from ghostpen.evaluation.pieces import Piece, count_words, cut_sections, spread
from ghostpen.evaluation.pools import POOL_WORDS, cut_pools
from ghostpen.evaluation.regularity import compute_real_spread, compute_regularity
from ghostpen.evaluation.rhythm import Rhythm, compute_rhythm
from ghostpen.evaluation.specificity import MODEL_LABELS, ModelLabel
from ghostpen.evaluation.style_map import build_map
from ghostpen.evaluation.style_shape import (
    AcceptedJson,
    AucJson,
    C2stJson,
    DeltaJson,
    DeltaProofJson,
    Losses,
    MapJson,
    Refusal,
    RegularityJson,
    RhythmJson,
    VerifierJson,
    VerifierProofJson,
)
from ghostpen.evaluation.style_shape import StyleReport as StyleReport
from ghostpen.evaluation.verifier import (
    MIN_PIECES,
    Verifier,
    VerifierProof,
    compute_accepted,
    compute_normalised,
    fit_verifier,
    prove_verifier,
)
from ghostpen.evaluation.written import Written, WrittenKind

KIND_NAMES: Mapping[WrittenKind, str] = {"continuation": "continuations", "topic": "new topics"}

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class _Texts:
    """Everything that is compared, and the length of a piece: the median of what was written."""

    author: str
    written: Mapping[ModelLabel, Sequence[Written]]
    training: Sequence[Section]
    held_out: Sequence[Section]
    others_training: Sequence[Section]
    others_test: Sequence[Section]
    words: int
    seed: int

    def choose(self, model: ModelLabel, kind: WrittenKind) -> list[Written]:
        """Return what a model wrote of one kind."""
        return [text for text in self.written[model] if text.kind == kind]

    def choose_continued(self) -> list[Piece]:
        """Return pieces of the held-out works that the continuations go on with; of all, if that is unknown."""
        works = {text.document for texts in self.written.values() for text in texts}
        continued = [section for section in self.held_out if section.document in works]
        return cut_sections(continued or self.held_out, words=self.words)


def build_style_report(
    written: Sequence[Written],
    *,
    author: str,
    training: Sequence[Section],
    validation: Sequence[Section],
    test: Sequence[Section],
    others_training: Sequence[Section],
    others_test: Sequence[Section],
    losses: Losses | None = None,
    seed: int = 0,
) -> StyleReport:
    """Build the report; the same texts and seed give the same numbers.

    Args:
        written: by all models.
        author: the author's name, as it is to be printed.
        training: the author's sections that the adapter was trained on.
        validation: the author's held-out sections.
        test: the author's other held-out sections.
        others_training: other authors' sections, such as the control was trained on.
        others_test: sections of yet other authors.
        losses: see `Losses`; without them there is no regularity.
        seed: of everything that is drawn.
    """
    by_model = {label: [text for text in written if text.model == label] for label in MODEL_LABELS}
    counts = [count for text in written if (count := count_words(text.text))]
    texts = _Texts(
        author=author,
        written={label: found for label, found in by_model.items() if found},
        training=training,
        held_out=[*validation, *test],
        others_training=others_training,
        others_test=others_test,
        words=round(statistics.median(counts)) if counts else 0,
        seed=seed,
    )
    verifier = _attempt(lambda: _fit_verifier(texts))
    proof = _after(verifier, lambda found: _prove(found, texts))
    rhythm = _attempt(lambda: _compute_rhythm(texts))
    return {
        "author": author,
        "seed": seed,
        "texts": {
            label: {
                "continuations": len(texts.choose(label, "continuation")),
                "topics": len(texts.choose(label, "topic")),
                "words": sum(count_words(text.text) for text in found),
            }
            for label, found in texts.written.items()
        },
        "verifier": _after(proof, lambda found: _build_verifier(*found, texts)),
        "c2st": _after(verifier, lambda found: _build_c2st(found, texts)),
        "delta": _attempt(lambda: _build_delta(texts)),
        "rhythm": _after(rhythm, lambda found: cast(RhythmJson, asdict(found))),
        "regularity": _attempt(lambda: _build_regularity(texts, losses)),
        "map": _after(proof, lambda found: _build_map(found[0], texts, rhythm)),
    }


def _attempt(build: Callable[[], T]) -> T | Refusal:
    """Return what is built, or why it would mean nothing."""
    try:
        return build()
    except (UnprovenError, NothingCountedError) as error:
        return {"refusal": error.message}


def _attempt_each(given: Mapping[ModelLabel, S], compute: Callable[[S], Any]) -> dict[ModelLabel, Any]:
    """Return what is computed for each model, a dataclass, as JSON, or why it would mean nothing."""

    def build(one: S) -> dict[str, Any]:
        return asdict(compute(one))

    return {label: _attempt(functools.partial(build, one)) for label, one in given.items()}


def _after(found: S | Refusal, build: Callable[[S], T]) -> T | Refusal:
    """Build from what was found, or hand on why it was not."""
    if isinstance(found, dict) and "refusal" in found:
        return cast(Refusal, found)
    proved = cast(S, found)  # type: ignore[redundant-cast]  # it is not: mypy 2.4 narrows S to all that is no dict
    return _attempt(lambda: build(proved))


def _fit_verifier(texts: _Texts) -> Verifier:
    if not texts.words:
        raise UnprovenError("nothing was written")
    return fit_verifier(texts.training, texts.others_training, words=texts.words)


def _prove(verifier: Verifier, texts: _Texts) -> tuple[Verifier, VerifierProof]:
    return verifier, prove_verifier(verifier, real=texts.held_out, others=texts.others_test)


def _build_verifier(verifier: Verifier, proof: VerifierProof, texts: _Texts) -> VerifierJson:
    continuations, topics = (
        _build_accepted(verifier, {label: texts.choose(label, kind) for label in texts.written}, real=proof.accepted)
        for kind in KIND_NAMES
    )
    return {
        "piece_words": verifier.words,
        "kept_words": len(verifier.kept),
        "real": cast(VerifierProofJson, asdict(proof)),
        "models": {
            label: {"continuations": continuations[label], "topics": topics[label]} for label in texts.written
        },
    }


def _build_accepted(
    verifier: Verifier, written: Mapping[ModelLabel, Sequence[Written]], *, real: float
) -> dict[ModelLabel, AcceptedJson | None]:
    found = {label: compute_accepted(verifier, [text.text for text in texts]) for label, texts in written.items()}
    base = found.get("base")
    accepted: dict[ModelLabel, AcceptedJson | None] = {}
    for label, one in found.items():
        normalised = (
            compute_normalised(one.accepted, base=base.accepted, real=real)
            if one and base and label != "base" and min(one.texts, base.texts) >= MIN_PIECES
            else None
        )
        accepted[label] = cast(AcceptedJson, {**asdict(one), "normalised": normalised}) if one else None
    return accepted


def _build_c2st(verifier: Verifier, texts: _Texts) -> C2stJson:
    pairs = {
        label: cut_pairs(_build_pairs(texts.choose(label, "continuation")), words=texts.words)
        for label in texts.written
    }
    scale = prove_c2st(
        texts.choose_continued(),
        training=cut_sections(texts.training, words=texts.words),
        others=cut_sections(texts.others_test, words=texts.words),
        texts=max(map(len, pairs.values())),
        kept=verifier.kept,
        seed=texts.seed,
    )
    pairs = {label: spread(found, scale.texts) for label, found in pairs.items()}
    return {
        "piece_words": texts.words,
        "floor": cast(AucJson, asdict(scale.floor)),
        "other_work": cast(AucJson, asdict(scale.other_work)),
        "others": cast(AucJson, asdict(scale.others)),
        "models": _attempt_each(pairs, functools.partial(compute_c2st, kept=verifier.kept, seed=texts.seed)),
    }


def _build_pairs(continuations: Iterable[Written]) -> list[Pair]:
    return [Pair(text.text, text.real, f"{text.document}/{text.section}") for text in continuations if text.real]


def _build_delta(texts: _Texts) -> DeltaJson:
    if not texts.words:
        raise UnprovenError("nothing was written")
    training = [*texts.training, *texts.others_training]
    author = texts.training[0].author if texts.training else texts.author
    model = fit_delta(_cut_pools(training), author=author)
    real = [pool for pools in _cut_pools(texts.held_out).values() for pool in pools]
    others = [pool for pools in _cut_pools(texts.others_test).values() for pool in pools]
    ceiling = compute_ceiling(model, real=real, others=others)
    pools = {label: cut_pools(text.text for text in found) for label, found in texts.written.items()}
    models = _attempt_each(pools, functools.partial(compute_delta, model, ceiling=ceiling))
    if all("refusal" in one for one in models.values()):
        raise UnprovenError(next(one["refusal"] for one in models.values()))
    return {"pool_words": POOL_WORDS, "real": cast(DeltaProofJson, asdict(ceiling)), "models": models}


def _cut_pools(sections: Iterable[Section]) -> dict[str, list[str]]:
    """Cut each author's works, one after the other, into pools: a pool may begin in one and end in the next."""
    texts: dict[str, list[str]] = {}
    for section in sections:
        texts.setdefault(section.author, []).append(section.text)
    return {author: cut_pools(found) for author, found in texts.items()}


def _compute_rhythm(texts: _Texts) -> Rhythm:
    if not texts.words:
        raise UnprovenError("nothing was written")
    training, others = (cut_sections(found, words=texts.words) for found in (texts.training, texts.others_test))
    return compute_rhythm(
        {label: _build_pieces(texts.choose(label, "continuation")) for label in texts.written},
        training=training,
        held_out=texts.choose_continued(),
        others=others,
        seed=texts.seed,
    )


def _build_pieces(written: Iterable[Written]) -> list[Piece]:
    return [Piece(text.text, text.model, text.document or "", text.section or 0) for text in written]


def _build_regularity(texts: _Texts, losses: Losses | None) -> RegularityJson:
    if losses is None or "real" not in losses:
        raise UnprovenError("how predictable each text is under the control adapter is not known")
    real = losses["real"]
    given = {label: losses[label] for label in texts.written if label in losses}
    models = _attempt_each(given, functools.partial(compute_regularity, real=real, seed=texts.seed))
    return cast(RegularityJson, {**asdict(compute_real_spread(real)), "models": models})


def _build_map(verifier: Verifier, texts: _Texts, rhythm: Rhythm | Refusal) -> MapJson:
    return build_map(
        verifier,
        author=texts.author,
        held_out=cut_sections(texts.held_out, words=texts.words),
        others=cut_sections(texts.others_test, words=texts.words),
        written={
            (label, name): pieces
            for label in texts.written
            for kind, name in KIND_NAMES.items()
            if (pieces := _build_pieces(texts.choose(label, kind)))
        },
        measures=rhythm.measures if isinstance(rhythm, Rhythm) else [],
        seed=texts.seed,
    )
