import unicodedata

from tests.reports import make_section

from ghostpen.evaluation.copying import Sample
from ghostpen.evaluation.html.copies import find_copies

TRAINING = [
    make_section("Zero. Alpha beta gamma delta epsilon zeta eta. One.", document="first"),
    make_section("Red orange yellow green blue indigo violet white.", document="second"),
]


def test_find_copies_marks_the_span_as_it_stands_in_the_sample() -> None:
    [copy] = find_copies([Sample("He said: ALPHA, beta -- gamma\n\ndelta epsilon! And left.")], TRAINING)

    assert (copy.sample, copy.words, copy.document) == (0, 5, "first")
    assert copy.pieces == (
        ("He said: ", False),
        ("ALPHA, beta -- gamma\n\ndelta epsilon", True),
        ("! And left.", False),
    )
    assert (copy.cut_before, copy.cut_after) == (False, False)


def test_find_copies_puts_the_longest_first_and_leaves_out_four_words() -> None:
    samples = [
        Sample("alpha beta gamma delta"),
        Sample("alpha beta gamma delta epsilon"),
        Sample("red orange yellow green blue indigo violet"),
    ]

    assert [(copy.sample, copy.words) for copy in find_copies(samples, TRAINING)] == [(2, 7), (1, 5)]


def test_find_copies_leaves_out_what_the_prompt_says() -> None:
    sample = Sample("alpha beta gamma delta epsilon zeta", prompt="Alpha beta gamma delta epsilon zeta")

    assert find_copies([sample], TRAINING) == []


def test_find_copies_marks_every_run_also_across_what_is_the_prompt_s() -> None:
    sample = Sample(
        "alpha beta gamma delta epsilon: once upon a time there, red orange yellow green blue indigo.",
        prompt="Once upon a time there was",
    )

    [copy] = find_copies([sample], TRAINING)

    assert (copy.words, copy.document) == (6, "second")
    assert copy.pieces == (
        ("alpha beta gamma delta epsilon", True),
        (": once upon a time there, ", False),
        ("red orange yellow green blue indigo", True),
        (".", False),
    )


def test_find_copies_finds_a_text_whose_accents_are_written_apart() -> None:
    training = [make_section("Zéro café déjà été élan. One.", document="first")]

    [copy] = find_copies([Sample(unicodedata.normalize("NFD", "Oh, zéro café déjà été élan"))], training)

    assert (copy.words, copy.pieces[0]) == (5, ("Oh, ", False))


def test_find_copies_cuts_a_long_sample_around_the_span_and_says_so() -> None:
    filler = " ".join(f"w{number}" for number in range(100))

    [copy] = find_copies([Sample(f"{filler} alpha beta gamma delta epsilon {filler}")], TRAINING)

    assert copy.pieces == (
        (" ".join(f"w{number}" for number in range(65, 100)) + " ", False),
        ("alpha beta gamma delta epsilon", True),
        (" " + " ".join(f"w{number}" for number in range(35)), False),
    )
    assert (copy.cut_before, copy.cut_after) == (True, True)


def test_find_copies_without_training_text_or_samples_is_empty() -> None:
    assert find_copies([Sample("alpha beta gamma delta epsilon")], []) == []
    assert find_copies([Sample("")], TRAINING) == find_copies([], TRAINING) == []
