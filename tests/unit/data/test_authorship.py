import pytest

from ghostpen.data.authorship import Authorship, render_sender
from ghostpen.data.readers.passages import Sender
from ghostpen.errors import DataError

ANN, BOB = Sender("Ann Smith", "ann@example.org"), Sender("Bob", "bob@example.org")


@pytest.mark.parametrize("me", ["Ann Smith", "ann smith", " ANN@EXAMPLE.ORG "])
def test_author_is_told_by_name_or_address_in_any_case(me: str) -> None:
    authorship = Authorship([me], own=True)
    assert (authorship.wants(ANN), authorship.wants(BOB)) == (True, False)
    authorship.check()


def test_contrast_is_all_but_the_author() -> None:
    authorship = Authorship(["Ann Smith"], own=False)
    assert (authorship.wants(ANN), authorship.wants(BOB)) == (False, True)
    authorship.check()


def test_one_sender_needs_no_word_about_who_it_is() -> None:
    authorship = Authorship([], own=True)
    assert authorship.wants(ANN) and authorship.wants(ANN)
    authorship.check()


def test_several_senders_are_listed_by_number_of_messages_with_shortened_addresses() -> None:
    authorship = Authorship([], own=True)
    for sender in (ANN, BOB, BOB, Sender("", "cara.jones@example.org"), Sender("+49 170 1234567")):
        authorship.wants(sender)
    with pytest.raises(DataError) as caught:
        authorship.check()
    assert caught.value.message == (
        "several people wrote these messages: Bob <bo…@example.org> (2), Ann Smith <an…@example.org> (1), "
        "ca…@example.org (1), …67 (1); say which of them is the author with --me NAME_OR_ADDRESS, once for each "
        "name or address"
    )


def test_no_more_than_ten_senders_are_listed() -> None:
    authorship = Authorship([], own=True)
    for number in range(1012):
        authorship.wants(Sender(f"Sender {number}"))
    with pytest.raises(DataError, match=r"Sender 9 \(1\), and 1,002 more; say which"):
        authorship.check()


def test_author_who_wrote_nothing_is_refused_with_those_who_did() -> None:
    authorship = Authorship(["Anna"], own=True)
    assert not authorship.wants(ANN)
    with pytest.raises(
        DataError, match=r"no message is by --me; the senders are: Ann Smith <an…@example\.org> \(1\)"
    ):
        authorship.check()


def test_owner_of_an_export_is_the_author_without_a_word() -> None:
    authorship = Authorship([], own=True)
    owner, other = Sender("Ann", "user1", is_owner=True), Sender("Bob", "user2", is_owner=False)
    assert (authorship.wants(owner), authorship.wants(other)) == (True, False)
    authorship.check()


def test_blank_name_matches_nobody() -> None:
    authorship = Authorship([" "], own=True)
    authorship.wants(Sender("", "ann@example.org"))
    authorship.wants(Sender("Bob", ""))
    with pytest.raises(DataError, match="several people"):
        authorship.check()


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        (Sender("Ann", "user123"), "Ann"),
        (Sender("", "user123"), "user123"),
        (Sender("ann@example.org", "ann@example.org"), "an…@example.org"),
        (Sender("", "a@example.org"), "a…@example.org"),
    ],
)
def test_sender_is_shown_so_that_the_address_is_of_no_use(sender: Sender, shown: str) -> None:
    assert render_sender(sender) == shown
