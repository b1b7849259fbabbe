"""The archives that services hand to their users: Discord's messages, X's posts, Reddit's posts and comments.

All texts in them are their owner's. Everything else in an archive (likes, direct messages, advertisers) is passed
over. Shapes as the services export them in 2026.
"""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from ghostpen.data.readers.passages import Passage, Reading, SourceFile, UnreadableError, find_chat_day
from ghostpen.data.readers.plain import decode_text

DISCORD_COLUMNS = {"ID", "Timestamp", "Contents"}
REDDIT_COLUMNS = {"id", "permalink", "date", "subreddit", "body"}
X_START = re.compile(r"\s*window\.YTD\.(\w+?)\.part\d+\s*=\s*")
X_POSTS = {"tweet", "tweets", "community_tweet", "note_tweet"}
_X_LINK = re.compile(r"\s*https?://t\.co/\w+")
_X_MENTIONS = re.compile(r"^(?:@\w{1,20}\s+)+")
_X_TIME = "%a %b %d %H:%M:%S %z %Y"
_X_KEY_CHARS = 40
_DELETED = {"[deleted]", "[removed]"}
_MENTION = re.compile(r"<(?:@[!&]?|#)\d+>|<a?(:\w+:)\d+>")
_LARGEST_FIELD_BYTES = 16 * 1024**2


def read_discord(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield the messages of one channel: messages.csv of old packages, messages.json of new ones.

    Raises:
        UnreadableError: too large, or broken.
    """
    channel = re.sub(r"\D", "", file.path.parent.name) or PurePosixPath(file.path).stem
    for row in _read_rows(file, reading):
        text = _MENTION.sub(lambda match: match[1] or "", str(row.get("Contents") or "")).strip()
        if not text:
            reading.left_out["attachments_and_notices"] += 1
            continue
        sent = _read_time(str(row.get("Timestamp", "")))
        day = find_chat_day(sent)
        links, key = (f"discord:{channel}/{day}",), f"discord:{row.get('ID')}"
        yield Passage(text, f"discord-{channel}-{day}", sent=sent, links=links, key=key)


def read_reddit(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield posts (posts.csv) or comments (comments.csv), quoted lines left out; a post and all below is a document.

    Raises:
        UnreadableError: too large, or broken.
    """
    for row in _read_rows(file, reading):
        lines = str(row.get("body") or "").split("\n")
        text = "\n".join(line for line in lines if not re.match(r"\s{0,3}(?:>|&gt;)(?!!)", line)).strip()
        if not text or text in _DELETED:
            reading.left_out["attachments_and_notices"] += 1
            continue
        reading.left_out["quoted_lines"] += sum(bool(re.match(r"\s{0,3}(?:>|&gt;)(?!!)", line)) for line in lines)
        thread = _find_reddit_post(str(row.get("link") or row.get("permalink") or "")) or str(row["id"])
        sent = _read_time(str(row["date"]).removesuffix(" UTC"))
        key = f"reddit:{row['permalink']}"
        yield Passage(html.unescape(text), f"reddit-{thread}", sent=sent, links=(f"reddit:{thread}",), key=key)


def read_x(file: SourceFile, reading: Reading) -> Iterator[Passage]:
    """Yield posts; a thread is a document. Reposts, links and the names that a reply begins with are left out.

    A long post is there twice, cut short in one file and whole in another: the key is equal, the longer one stays.

    Raises:
        UnreadableError: too large, or broken.
    """
    content = decode_text(file.read_whole()).text
    for entry in _parse_json(X_START.sub("", content, count=1).rstrip(" \n;")):
        post = entry.get("tweet") or entry.get("noteTweet") or {}
        text = post.get("full_text") or (post.get("core") or {}).get("text") or ""
        if text.startswith("RT @"):
            reading.left_out["reposts"] += 1
            continue
        text, links_left_out = _X_LINK.subn("", html.unescape(text))
        reading.left_out["links"] += links_left_out
        text = _X_MENTIONS.sub("", text).strip()
        if not text:
            reading.left_out["attachments_and_notices"] += 1
            continue
        sent = _read_x_time(str(post.get("created_at") or post.get("createdAt") or ""))
        key = f"x:{sent}/{text[:_X_KEY_CHARS]}"
        own_id = str(post.get("id_str") or post.get("id") or post.get("noteTweetId"))
        answered = post.get("in_reply_to_status_id_str") or post.get("in_reply_to_status_id")
        links = (f"x:{own_id}", *([f"x:{answered}"] if answered else []))
        yield Passage(text, f"x-{own_id}", sent=sent, links=links, key=key)


def _read_rows(file: SourceFile, reading: Reading) -> Iterator[dict[str, Any]]:
    """Yield the rows of a CSV file with a heading, or of a JSON file with a list of objects."""
    decoded = decode_text(file.read_whole())
    reading.repaired["encodings"] += decoded.repaired
    if decoded.text.lstrip().startswith("["):
        yield from _parse_json(decoded.text)
        return
    csv.field_size_limit(_LARGEST_FIELD_BYTES)
    try:
        yield from csv.DictReader(io.StringIO(decoded.text, newline=""), strict=True)
    except csv.Error as error:
        raise UnreadableError("broken CSV; export it again") from error


def _parse_json(text: str) -> list[dict[str, Any]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("broken JSON; export it again") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UnreadableError("JSON of another shape than its service exports")
    return rows


def _find_reddit_post(link: str) -> str:
    match = re.search(r"/comments/(\w+)", link) or re.fullmatch(r"t3_(\w+)", link)
    return match[1] if match else ""


def _read_time(text: str) -> datetime | None:
    """Return an ISO time as UTC without its mark."""
    try:
        time = datetime.fromisoformat(text.strip())
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except ValueError:
        return None


def _read_x_time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _X_TIME).astimezone(UTC).replace(tzinfo=None)
    except ValueError:
        time = _read_time(text)
        return time.replace(microsecond=0) if time else None  # as the cut one of the same post has it
