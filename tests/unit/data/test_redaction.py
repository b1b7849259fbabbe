from pathlib import Path

import pytest

from ghostpen.data.redaction import Redactor, load_names
from ghostpen.errors import DataError


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b+c@mail.ex-ample.co.uk.", "write to [email]."),
        ("jörg@exämple.de,", "[email],"),
        ("+49 170 1234567", "[phone]"),
        ("+1 (212) 555-0123", "[phone]"),
        ("089 / 123 45 67", "[phone]"),
        ("0170-1234567", "[phone]"),
        ("(555) 123-4567 or 555-123-4567", "[phone] or [phone]"),
        ("01 42 68 53 00", "[phone]"),
        ("Tel.: 12345", "Tel.: [phone]"),
        ("AKIA" + "ABCDEFGHIJKLMNOP", "[key]"),
        ("ghp_" + "a1" * 18, "[key]"),
        ("sk-proj-" + "a1" * 20, "[key]"),
        ("hf_" + "aB" * 17, "[key]"),
        ("xoxb-" + "1234567890-abc", "[key]"),
        ("0123456789abcdef" * 2, "[key]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY----- end", "[key] end"),
        ("password: hunter2x", "password: [key]"),
        ("my password is s3cret-1", "my password is [key]"),
    ],
)
def test_mask_finds_addresses_numbers_and_keys(text: str, masked: str) -> None:
    assert Redactor().mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "In 1814 and 1815, 2,500,000 people; 10 000 000 more.",
        "On 2023-01-15 at 10:30, on 01.02.2023 and 12/31/2023.",
        "ISBN 978-3-16-148410-0, page 0123, 3.14159265, $1,234,567.89, 192.168.178.20",
        "The password is wrong. A secret: nobody knows.",
        "He was 0-0 @ home; a@b; the deadbeef of 1066-1087.",
    ],
)
def test_mask_leaves_years_dates_amounts_and_words(text: str) -> None:
    assert Redactor().mask(text) == text


def test_mask_counts_by_kind() -> None:
    redactor = Redactor(["Ann"])
    redactor.mask("ann@example.org, bob@example.org, +49 170 1234567, Ann")
    assert +redactor.masked == {"emails": 2, "phones": 1, "names": 1}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("ann\nSmith met BOB’s friend Bobby.", "[name] met [name]’s friend Bobby."),
        ("Ann came, and Zoe\u0308 too.", "[name] came, and [name] too."),  # the list has ë as one character
        ("Annabel and Joann", "Annabel and Joann"),
        ("J.R. left", "[name] left"),
    ],
)
def test_mask_finds_listed_names_as_whole_words_in_any_case(text: str, masked: str) -> None:
    assert Redactor(["Ann", "Ann Smith", "Bob", "Zo\u00eb", "J.R."]).mask(text) == masked


@pytest.mark.parametrize(
    "text", ["a" * 500_000, "1 " * 250_000, "-----BEGIN PRIVATE KEY-----" * 5_000, "0" * 500_000]
)
def test_mask_of_endless_runs_ends(text: str) -> None:
    # Without bounds on the patterns' runs, each of these takes hours: pytest's timeout would end it.
    assert len(Redactor(["Ann"]).mask(text)) <= len(text)


def test_names_are_read_a_line_each_without_remarks(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("\ufeff# friends\nAnn Smith \n\nBob\n", encoding="utf-8")
    assert load_names(tmp_path / "names") == ["Ann Smith", "Bob"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read"),
        (b"# nobody\n", "holds no name"),
        (b"J\xf6rg\n", "not UTF-8"),
        (b"a\n" * 10_001, "more than 10,000 names"),
    ],
)
def test_names_that_cannot_be_read_say_why(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "names").write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_names(tmp_path / "names")
