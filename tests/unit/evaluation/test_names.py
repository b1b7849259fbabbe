"""Names: which words are, and when the rule says that it does not hold."""

import zipfile
from pathlib import Path

import pytest

from ghostpen.errors import NothingCountedError
from ghostpen.evaluation.names import NameLeak, compute_name_leak, find_names

TEXTS = Path(__file__).parents[3] / "src/ghostpen/assets/texts"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("I saw Darcy, and Darcy saw me; for Darcy sees.", {"Darcy"}),
        ("I saw Darcy, and Darcy saw me.", set()),  # twice
        ("We met Mr. Darcy. So Mrs. Darcy came, to Miss. Darcy.", {"Darcy"}),  # an abbreviation ends no sentence
        ("He came. Darcy left! Darcy slept? Darcy woke. 'Darcy?'", set()),  # sentences may begin with any word
        ("the Lake, a Lake, one Lake and a lake", set()),  # one of four is in lower case
        ("to BATH, to BATH, to BATH; and I, and I, and I", set()),  # capitals are emphasis, I is no name
        ("of Élise, of Élise, of Élise", {"Élise"}),
    ],
)
def test_names_are_capitals_inside_sentences(text: str, names: set[str]) -> None:
    assert find_names([text]) == names


def test_names_that_others_have_too_are_nobodys_own() -> None:
    text = "on Monday Darcy came, on Monday Darcy spoke, on Monday Darcy left"
    assert find_names([text], others=["it was Monday"]) == {"Darcy"}
    assert find_names([text], others=["Monday came", "a darcy"]) == {"Darcy", "Monday"}


def test_leak_counts_samples_with_a_name_that_the_prompt_has_not() -> None:
    names = frozenset({"Darcy", "Bingley", "Jane"})
    samples = [
        ("Then Darcy and Jane came", ""),
        ("Then Darcy came", "Where is Darcy"),
        ("Then darcy came", ""),
        ("Jane Bingley's dog", "Bingley"),
    ]
    found = compute_name_leak(samples, names, real=["Nobody.", "Jane came", "Nobody.", "None."])
    assert found == NameLeak(names=3, samples=4, share=0.5, floor=0.25, leaked=("Jane", "Darcy"))


def test_leak_says_nothing_where_half_of_real_text_has_such_names() -> None:
    found = compute_name_leak([("Darcy", "")], frozenset({"Darcy"}), real=["Darcy came", "Nobody"])
    assert found == NameLeak(names=1, samples=1, share=None, floor=0.5, leaked=())


@pytest.mark.parametrize(("samples", "real"), [([], ["x"]), ([("x", "")], [])])
def test_leak_of_nothing_is_an_error(samples: list[tuple[str, str]], real: list[str]) -> None:
    with pytest.raises(NothingCountedError, match="needs some of both"):
        compute_name_leak(samples, frozenset({"Darcy"}), real=real)


def cut(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[start : start + 80]) for start in range(0, len(words) - 80, 80)]


def test_names_of_two_novels_are_their_people_and_an_unseen_novel_has_few() -> None:
    with zipfile.ZipFile(TEXTS / "austen.zip") as opened:
        pride, mansfield, emma, persuasion = (
            opened.read(f"{name}.txt").decode()
            for name in ("pride-and-prejudice", "mansfield-park", "emma", "persuasion")
        )
    with zipfile.ZipFile(TEXTS / "contrast.zip") as opened:
        others = [opened.read(name).decode() for name in opened.namelist() if name.startswith("train/")]
    names = find_names([pride, mansfield], others=[*others, persuasion])
    assert {"Darcy", "Bingley", "Bennet", "Pemberley", "Rushworth", "Bertram"} <= names
    assert not {"Mr", "God", "London", "English", "Monday", "July", "The", "Very"} & names
    real, copied = cut(emma), [(piece, "") for piece in cut(pride)]
    found = compute_name_leak(copied, names, real=real)
    assert found.floor < 0.1
    assert found.share is not None and found.share > 0.7
