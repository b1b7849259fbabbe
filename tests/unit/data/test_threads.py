from datetime import datetime
from pathlib import Path, PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from ghostpen.data.readers.passages import Passage, Sender, SourceFile
from ghostpen.data.threads import FoundPassage, find_signatures, group_passages

FILE = SourceFile(PurePosixPath("a"), "a", Path("a"))


def find(*passages: Passage) -> list[FoundPassage]:
    return [FoundPassage(passage, FILE, 0) for passage in passages]


def show(groups: list[list[FoundPassage]]) -> list[list[str]]:
    return [[item.passage.text for item in group] for group in groups]


def test_thread_is_held_together_by_the_mails_of_others() -> None:
    found = find(
        Passage("third", links=("3", "2"), sent=datetime(2024, 1, 3)),
        Passage("", links=("2", "1")),  # another's, of which only the links were kept
        Passage("first", links=("1",), sent=datetime(2024, 1, 1)),
        Passage("alone", links=("9",)),
    )
    assert show(group_passages(found, by_sender=True)) == [["first", "third"], ["alone"]]


def test_message_found_twice_counts_once_and_the_longer_one_stays() -> None:
    found = find(
        Passage("cut…", key="k", links=("1",)),
        Passage("cut, but whole", key="k", links=("2",)),
        Passage("no key"),
        Passage("no key"),
    )
    assert show(group_passages(found, by_sender=True)) == [["cut, but whole"], ["no key"], ["no key"]]


def test_two_senders_of_a_day_are_two_documents_unless_both_are_the_author() -> None:
    found = find(
        Passage("a", links=("day",), sender=Sender("Ann")),
        Passage("b", links=("day",), sender=Sender("Bob")),
        Passage("c", links=("day",), sender=Sender("Ann")),
    )
    assert show(group_passages(found, by_sender=True)) == [["a", "c"], ["b"]]
    assert show(group_passages(found, by_sender=False)) == [["a", "b", "c"]]


def test_messages_without_a_time_keep_their_order() -> None:
    found = find(*(Passage(text, links=("day",)) for text in "cab"))
    assert show(group_passages(found, by_sender=True)) == [["c", "a", "b"]]


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=12))
def test_messages_are_together_exactly_where_a_chain_of_links_joins_them(links: list[list[int]]) -> None:
    found = find(*(Passage(f"{n}", links=tuple(map(str, own))) for n, own in enumerate(links)))
    groups = {frozenset(group) for group in map(tuple, show(group_passages(found, by_sender=True)))}
    # By hand: merge sets of links until none overlap.
    merged: list[tuple[set[int], set[str]]] = []
    for n, own in enumerate(links):
        ids, members = set(own), {f"{n}"}
        for other in [other for other in merged if other[0] & ids]:
            merged.remove(other)
            ids, members = ids | other[0], members | other[1]
        merged.append((ids, members))
    assert groups == {frozenset(members) for _, members in merged}


def test_signature_is_a_contact_block_that_three_messages_end_with() -> None:
    block = "Ann Smith\nTel. 0123 456789"
    mails = [Passage(f"Mail {n}.\n\n{block}", sender=Sender("Ann"), links=(f"{n}",)) for n in range(3)]
    assert find_signatures(find(*mails)) == {block}
    assert find_signatures(find(*mails[:2])) == set()
    works = [Passage(f"Work {n}.\n\n{block}") for n in range(3)]
    assert find_signatures(find(*works)) == set()
