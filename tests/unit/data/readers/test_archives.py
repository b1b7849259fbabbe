"""The archives of Discord, Reddit and X."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath

import pytest

from ghostpen.data.readers.archives import read_discord, read_reddit, read_x
from ghostpen.data.readers.passages import Reading, SourceFile, UnreadableError

MakeFile = Callable[[Path], SourceFile]
CHANNEL = "c123456789012345678"


def find(assets: Path, name: str) -> SourceFile:
    return SourceFile(PurePosixPath(name), name, assets / "exports" / name)


def test_discord_new_package_is_read_by_day_without_mentions(assets: Path, reading: Reading) -> None:
    passages = list(read_discord(find(assets, f"discord/messages/{CHANNEL}/messages.json"), reading))
    assert [(passage.name, passage.text) for passage in passages] == [
        ("discord-123456789012345678-2023-12-28", "hi , nice :wave: day"),
        ("discord-123456789012345678-2023-12-30", "two\nlines"),
    ]
    assert passages[0].sent == datetime(2023, 12, 28, 17, 30, 45)
    assert reading.left_out == {"attachments_and_notices": 1}


def test_discord_old_package_is_read_with_quotes_and_line_ends_in_a_field(assets: Path, reading: Reading) -> None:
    (passage,) = read_discord(find(assets, "discord/messages/c987/messages.csv"), reading)
    assert (passage.name, passage.text) == ("discord-987-2020-05-01", 'hey, "Thursday"?\r\nor Friday')
    assert passage.links == ("discord:987/2020-05-01",)


def test_reddit_post_and_its_comments_hang_together_and_quotations_go(assets: Path, reading: Reading) -> None:
    (post,) = read_reddit(find(assets, "reddit/posts.csv"), reading)
    comments = list(read_reddit(find(assets, "reddit/comments.csv"), reading))
    assert [(passage.text, passage.links) for passage in [post, *comments]] == [
        ("Is there *always* fog here?", ("reddit:p1",)),
        ("In winter > in summer, then.", ("reddit:p1",)),
        ("A bowline, of course.", ("reddit:p9",)),
    ]
    assert post.sent == datetime(2024, 1, 3, 10)
    assert reading.left_out == {"attachments_and_notices": 2, "quoted_lines": 1}


def test_x_posts_are_read_without_reposts_links_and_the_names_of_a_reply(assets: Path, reading: Reading) -> None:
    passages = list(read_x(find(assets, "x/data/tweets.js"), reading))
    assert [(passage.text, passage.links) for passage in passages[:3]] == [
        ("Fog again & no boats.", ("x:101",)),
        ("And now it lifts.", ("x:102", "x:101")),
        ("I saw @dave there", ("x:104", "x:99")),
    ]
    assert passages[0].sent == datetime(2024, 1, 3, 10)
    assert reading.left_out == {"reposts": 1, "links": 2}


def test_x_long_post_has_the_key_of_the_one_that_was_cut(assets: Path, reading: Reading) -> None:
    (whole,) = read_x(find(assets, "x/data/note-tweet.js"), reading)
    cut = list(read_x(find(assets, "x/data/tweets.js"), reading))[-1]
    assert whole.key == cut.key
    assert len(whole.text) > len(cut.text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("window.YTD.tweets.part0 = [{", "broken JSON"),
        ("window.YTD.tweets.part0 = " + "[" * 100_000, "broken JSON"),
        ('window.YTD.tweets.part0 = {"tweet": 1}', "JSON of another shape"),
    ],
)
def test_x_file_that_is_broken_says_so(
    tmp_path: Path, make_file: MakeFile, reading: Reading, content: str, reason: str
) -> None:
    (tmp_path / "tweets.js").write_text(content)
    with pytest.raises(UnreadableError, match=reason):
        list(read_x(make_file(tmp_path / "tweets.js"), reading))


def test_csv_with_an_unclosed_quote_says_so(tmp_path: Path, make_file: MakeFile, reading: Reading) -> None:
    (tmp_path / "messages.csv").write_text('ID,Timestamp,Contents,Attachments\n1,2020-05-01 10:00:00,"hey,\n')
    with pytest.raises(UnreadableError, match="broken CSV"):
        list(read_discord(make_file(tmp_path / "messages.csv"), reading))
