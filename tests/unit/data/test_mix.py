"""Which text becomes which kind of sample: shares, order, seed, and nothing in two samples."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ghostpen.config import DataConfig
from ghostpen.data.instructions import CONTINUE_INSTRUCTIONS
from ghostpen.data.mix import build_train_samples
from ghostpen.data.pairs import Pair, PairKind, Pairs
from ghostpen.data.passages import PassageFinder, plan_passages
from ghostpen.data.samples import IGNORED_LABEL, TrainSample, render_text_windows
from ghostpen.data.sections import Section
from ghostpen.errors import ConfigError

FIXTURES_ARE_PURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
texts = st.text(alphabet="abc é—.\n", min_size=1, max_size=300)
SENTENCES = "It was a fine day, and nobody stayed. She did not answer. He looked at the door. "


def build(sections: list[Section], tokenizer: Any, *, length: int, seed: int = 0, **shares: Any) -> list[TrainSample]:
    pairs = shares.pop("pairs", ())
    config = DataConfig(dir=Path("data"), sequence_length=length, **shares)
    return build_train_samples(sections, tokenizer, settings=config, pairs=pairs, seed=seed).samples


def test_train_samples_without_harmony_are_the_text_windows(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    sections = [make_section(SENTENCES * 20)]
    samples = build(sections, tokenizer, length=96, seed=1)
    assert samples == render_text_windows(sections, tokenizer, sequence_length=96)


@FIXTURES_ARE_PURE
@example(text="bc\na\n" * 200, length=251, seed=0)  # tokens that take more room beside others than alone
@given(text=texts, length=st.integers(220, 320), seed=st.integers(0, 9))
def test_train_samples_are_never_longer_than_a_window(
    either_tokenizer: Any, make_section: Callable[..., Section], text: str, length: int, seed: int
) -> None:
    sections = [make_section(text * 4, document="a"), make_section(SENTENCES * 5, document="b")]
    windows = render_text_windows(sections, either_tokenizer, sequence_length=length)
    samples = build(sections, either_tokenizer, length=length, continue_share=1.0, seed=seed)
    assert [sample.document for sample in samples] == [window.document for window in windows]
    for sample in samples:
        assert len(sample.input_ids) == len(sample.labels) <= length


def test_train_samples_all_harmony_hold_words_of_the_text_on_both_sides(
    either_tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    text = " ".join(f"word{i} goes. Then" for i in range(300))
    sections = [make_section(text)]
    samples = build(sections, either_tokenizer, length=256, continue_share=1.0, seed=3)
    instructions: Counter[str] = Counter()
    for sample in samples:
        whole = either_tokenizer.decode(sample.input_ids)
        user = whole.split("<|start|>user<|message|>")[1].split("<|end|>")[0]
        instruction, passage = user.split("\n\n", 1)
        rest = whole.split("<|channel|>final<|message|>")[1].removesuffix("<|return|>")
        instructions[instruction] += 1
        assert f"{passage} {rest}" in text  # the rest goes on exactly where the passage breaks off
        assert rest.endswith(".")
        assert (
            either_tokenizer.decode([label for label in sample.labels if label != IGNORED_LABEL])
            == f"{rest}<|return|>"
        )
    assert len(samples) > 10
    assert set(instructions) <= set(CONTINUE_INSTRUCTIONS)
    assert len(instructions) > 3


def test_train_samples_share_of_a_half_mixes_both_kinds_and_follows_the_seed(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    sections = [make_section(SENTENCES * 400)]

    def mix(seed: int) -> list[TrainSample]:
        return build(sections, tokenizer, length=128, continue_share=0.5, seed=seed)

    start = tokenizer.convert_tokens_to_ids("<|startoftext|>")
    plain = sum(sample.input_ids[0] == start for sample in mix(0))
    assert 0.35 < plain / len(mix(0)) < 0.65
    assert mix(0) == mix(0)
    assert mix(0) != mix(1)


def test_train_samples_window_too_short_for_the_frame_names_the_settings(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    with pytest.raises(ConfigError, match=r"data\.sequence_length is 32.*data\.continue_share"):
        build([make_section(SENTENCES)], tokenizer, length=32, continue_share=0.5)


# Pairs

PARAGRAPHS = [" ".join(f"p{i}w{j}" for j in range(40)) + "." for i in range(40)]


def make_pairs(sections: list[Section], kind: PairKind, *, every: int = 1, skip: int = 0) -> Pairs:
    """Pair each paragraph-long passage, or every n-th, with a request of its own."""
    planned = sorted(plan_passages(sections, max_words=45, seed=0), key=lambda p: (p.section_index, p.start))
    pairs = tuple(Pair(f"{kind} of {passage.read(sections).split()[0]}", passage) for passage in planned[skip::every])
    return Pairs(kind, Path(f"data/{kind}s.jsonl"), "ab", pairs, quoting=0)


@pytest.fixture
def novel(make_section: Callable[..., Section]) -> list[Section]:
    halves = ("\n\n".join(PARAGRAPHS[:20]), "\n\n".join(PARAGRAPHS[20:]))
    return [
        make_section(halves[0], ends_document=False),
        make_section(halves[1], section=1, starts_document=False),
    ]


def read_counted(tokenizer: Any, sample: TrainSample) -> str:
    return str(tokenizer.decode([label for label in sample.labels if label != IGNORED_LABEL]))


def test_mix_of_four_kinds_has_every_word_once_and_the_shares_that_were_asked(
    any_tokenizer: Any, novel: list[Section]
) -> None:
    config = DataConfig(
        dir=Path("data"), sequence_length=512, continue_share=0.25, brief_share=0.25, rewrite_share=0.25
    )
    pairs = [make_pairs(novel, "brief", every=2), make_pairs(novel, "rewrite", every=2, skip=1)]
    mixed = build_train_samples(novel, any_tokenizer, settings=config, pairs=pairs, seed=5)
    assert (mixed.kinds["brief"], mixed.kinds["rewrite"], mixed.too_long) == (10, 10, 0)  # of 40 paragraphs
    assert sum(mixed.kinds.values()) == len(mixed.samples)
    counted = Counter(word for s in mixed.samples[-20:] for word in read_counted(any_tokenizer, s).split())
    windows = build_train_samples(
        novel, any_tokenizer, settings=config.model_copy(update={"continue_share": 0.0}), pairs=pairs, seed=5
    )
    plain = "".join(read_counted(any_tokenizer, s) for s in windows.samples[:-20])
    for paragraph in PARAGRAPHS:
        assert (paragraph in plain) + counted[f"{paragraph.split()[5]}"] == 1
    assert mixed == build_train_samples(novel, any_tokenizer, settings=config, pairs=pairs, seed=5)


def test_mix_brief_is_asked_for_in_a_chat_and_only_the_passage_counts(
    any_tokenizer: Any, novel: list[Section]
) -> None:
    samples = build(novel, any_tokenizer, length=512, brief_share=1.0, pairs=[make_pairs(novel, "brief")])
    assert len(samples) == 40
    wordings = Counter()
    for sample in samples:
        answer = read_counted(any_tokenizer, sample).removesuffix("<|return|>")
        assert answer in PARAGRAPHS
        whole = any_tokenizer.decode(sample.input_ids)
        request = whole.split("<|start|>user<|message|>")[1].split("<|end|>")[0]
        brief = f"brief of {answer.split()[0]}"
        assert brief in request
        assert "{" not in request
        assert ("words" in request) == ("40 words" in request)  # a passage of 40 words
        wordings[request.replace(brief, "")] += 1
    assert len(wordings) > 9
    assert max(wordings.values()) < 10


def test_mix_text_around_a_passage_is_not_joined_over_it(
    tokenizer: Any, make_section: Callable[..., Section]
) -> None:
    text = "\n\n".join(PARAGRAPHS[:3])
    sections = [make_section(text)]
    passage = PassageFinder(sections).find(PARAGRAPHS[1])
    assert passage is not None
    pairs = Pairs("rewrite", Path("rewrites.jsonl"), "ab", (Pair("plain", passage),), quoting=0)
    samples = build(sections, tokenizer, length=1024, rewrite_share=1 / 3, pairs=[pairs])
    assert [read_counted(tokenizer, sample) for sample in samples] == [
        PARAGRAPHS[0],
        f"{PARAGRAPHS[2]}<|endoftext|>",
        f"{PARAGRAPHS[1]}<|return|>",
    ]
    assert {sample.document for sample in samples} == {"emma"}


def test_mix_two_pairs_over_one_passage_use_it_once(tokenizer: Any, novel: list[Section]) -> None:
    briefs, rewrites = make_pairs(novel, "brief"), make_pairs(novel, "rewrite")
    twice = Pairs("brief", briefs.path, "ab", briefs.pairs * 2, quoting=0)
    samples = build(novel, tokenizer, length=512, brief_share=0.5, rewrite_share=0.5, pairs=[twice, rewrites], seed=1)
    answers = [read_counted(tokenizer, sample) for sample in samples]
    assert len(answers) == len(set(answers)) == 40


def test_mix_share_without_enough_pairs_names_setting_file_and_verb(tokenizer: Any, novel: list[Section]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(novel, tokenizer, length=512, brief_share=0.8, pairs=[make_pairs(novel, "brief", every=2)])
    assert caught.value.message == (
        "data.brief_share is 0.8, and data/briefs.jsonl covers 0.50 of the training text; make more with "
        "`ghostpen brief data --base MODEL --share 0.8`, or lower data.brief_share"
    )


def test_mix_briefs_and_rewrites_of_the_same_passages_are_an_error_that_says_so(
    tokenizer: Any, novel: list[Section]
) -> None:
    pairs = [make_pairs(novel, "brief", every=2), make_pairs(novel, "rewrite", every=2)]
    with pytest.raises(ConfigError, match=r"rewrite_share is 0\.3.* 0\.00 .*20 are of passages that others have"):
        build(novel, tokenizer, length=512, brief_share=0.5, rewrite_share=0.3, pairs=pairs)


def test_mix_pairs_longer_than_a_window_stay_text_and_are_counted(tokenizer: Any, novel: list[Section]) -> None:
    config = DataConfig(dir=Path("data"), sequence_length=512, brief_share=1.0)
    pairs = make_pairs(novel, "brief")
    longer = Pair("long " * 600, pairs.pairs[0].passage)
    mixed = build_train_samples(
        novel, tokenizer, settings=config, pairs=[Pairs("brief", pairs.path, "ab", (longer, *pairs.pairs), 0)], seed=0
    )
    assert (mixed.too_long, mixed.kinds["brief"]) == (1, 40)
    assert mixed.describe() == "40 brief; 1 pairs too long for data.sequence_length"
    assert all(len(sample.input_ids) <= 512 for sample in mixed.samples)
    with pytest.raises(ConfigError, match=r"40 pairs are too long for data\.sequence_length"):
        build(novel, tokenizer, length=150, brief_share=0.5, pairs=[pairs])
