"""The evaluator that the policies are judged with is judged itself."""

import pytest
from tests.unit.infra.iam import Request, find_allowing, is_match, overlap

ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/runs/*"}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("arn:aws:s3:::b/runs/*", "arn:aws:s3:::b/runs/1/x", True),
        ("arn:aws:s3:::b/runs/*", "arn:aws:s3:::b/runs/", True),
        ("arn:aws:s3:::b/runs/*", "arn:aws:s3:::b/data/1", False),
        ("a.c", "abc", False),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
    ],
)
def test_wildcards_fit_what_iam_says_they_fit(pattern: str, text: str, expected: bool) -> None:
    assert is_match(pattern, text) is expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("log-group:/a:*", "log-group:*:log-stream:*", True),
        ("b/data/*", "b/runs/*", False),
        ("*", "x", True),
        ("a*c", "ab*", True),
        ("a*c", "b*", False),
    ],
)
def test_two_patterns_overlap_where_one_text_fits_both(left: str, right: str, expected: bool) -> None:
    assert overlap(left, right) is expected
    assert overlap(right, left) is expected


def test_action_is_compared_without_case_and_resource_with() -> None:
    assert find_allowing([ALLOW], Request("S3:getobject", "arn:aws:s3:::b/runs/1"))
    assert not find_allowing([ALLOW], Request("s3:GetObject", "arn:aws:s3:::b/RUNS/1"))


def test_deny_beats_allow() -> None:
    deny = {**ALLOW, "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    request = Request("s3:GetObject", "arn:aws:s3:::b/runs/1", {"aws:SecureTransport": "false"})
    assert find_allowing([ALLOW], request) == [ALLOW]
    assert find_allowing([ALLOW, deny], request) == []


@pytest.mark.parametrize(
    ("operator", "wanted", "context", "expected"),
    [
        ("StringEquals", "a", {"K": "a"}, True),  # keys have no case
        ("StringEquals", ["b", "a"], {"k": "a"}, True),
        ("StringEquals", "a*", {"k": "ab"}, False),
        ("StringEquals", "a", {}, False),
        ("StringLike", "a*", {"k": "ab"}, True),
        ("StringLike", "a*", {}, False),
        ("StringLikeIfExists", "a*", {}, True),
        ("StringLikeIfExists", "a*", {"k": "b"}, False),
        ("NumericLessThanEqualsIfExists", "0", {"k": "1"}, False),
        ("NumericLessThanEqualsIfExists", "0", {"k": "0"}, True),
    ],
)
def test_condition_holds_as_iam_documents_it(
    operator: str, wanted: object, context: dict[str, str], expected: bool
) -> None:
    statement = {**ALLOW, "Condition": {operator: {"k": wanted}}}
    assert bool(find_allowing([statement], Request("s3:GetObject", "arn:aws:s3:::b/runs/1", context))) is expected


def test_condition_with_an_unknown_operator_is_an_error() -> None:
    statement = {**ALLOW, "Condition": {"IpAddress": {"k": "10.0.0.0/8"}}}
    with pytest.raises(NotImplementedError, match="IpAddress"):
        find_allowing([statement], Request("s3:GetObject", "arn:aws:s3:::b/runs/1", {"k": "10.0.0.1"}))
