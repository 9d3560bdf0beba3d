# SPDX-License-Identifier: Apache-2.0
"""Label selectors mean the same as to the API server."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.kubevirt.selector import EVERYTHING, Requirement, Selector, parse


def requirement(key: str, operator: str, *values: str) -> Requirement:
    return Requirement(key, operator, frozenset(values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("", [], id="empty"),
        pytest.param(" \t\r\n", [], id="blank"),
        pytest.param("a=b", [requirement("a", "in", "b")], id="equals"),
        pytest.param("a==b", [requirement("a", "in", "b")], id="double-equals"),
        pytest.param("a = b", [requirement("a", "in", "b")], id="spaces"),
        pytest.param("a!=b", [requirement("a", "notin", "b")], id="not-equals"),
        pytest.param("a=", [requirement("a", "in", "")], id="empty-value"),
        pytest.param("a=,b", [requirement("a", "in", ""), requirement("b", "exists")], id="empty-value-before-comma"),
        pytest.param("a!=", [requirement("a", "notin", "")], id="not-the-empty-value"),
        pytest.param("a in (x,y)", [requirement("a", "in", "x", "y")], id="in"),
        pytest.param("a notin ( x , y )", [requirement("a", "notin", "x", "y")], id="notin"),
        pytest.param("a in(x)", [requirement("a", "in", "x")], id="in-without-space"),
        pytest.param("a in ()", [requirement("a", "in", "")], id="in-nothing-is-in-the-empty-value"),
        pytest.param("a in (,x)", [requirement("a", "in", "", "x")], id="empty-first-value"),
        pytest.param("a in (x,)", [requirement("a", "in", "", "x")], id="empty-last-value"),
        pytest.param("a in (x,,y)", [requirement("a", "in", "", "x", "y")], id="empty-value-between"),
        pytest.param("a", [requirement("a", "exists")], id="exists"),
        pytest.param("!a", [requirement("a", "!")], id="absent"),
        pytest.param("! a", [requirement("a", "!")], id="absent-with-space"),
        pytest.param("a>1", [requirement("a", ">", "1")], id="greater"),
        pytest.param("a < 2", [requirement("a", "<", "2")], id="less"),
        pytest.param("in in (in,notin)", [requirement("in", "in", "in", "notin")], id="keywords-as-key-and-value"),
        pytest.param("notin", [requirement("notin", "exists")], id="keyword-as-key"),
        pytest.param("a=in", [requirement("a", "in", "in")], id="keyword-as-value"),
        pytest.param("kubevirt.io/domain=db", [requirement("kubevirt.io/domain", "in", "db")], id="prefix"),
        pytest.param("A_b.c-1=X_y.z-2", [requirement("A_b.c-1", "in", "X_y.z-2")], id="all-characters"),
        pytest.param(f"{'a' * 63}={'b' * 63}", [requirement("a" * 63, "in", "b" * 63)], id="longest"),
        pytest.param(
            "a=b,c!=d, e in (x,y),f notin (z),g,!h",
            [
                requirement("a", "in", "b"),
                requirement("c", "notin", "d"),
                requirement("e", "in", "x", "y"),
                requirement("f", "notin", "z"),
                requirement("g", "exists"),
                requirement("h", "!"),
            ],
            id="all-kinds",
        ),
    ],
)
def test_selectors_parse_as_in_kubernetes(text: str, want: list[Requirement]) -> None:
    assert parse(text) == Selector(tuple(want))


@pytest.mark.parametrize(
    ("text", "character", "why"),
    [
        pytest.param(",a", 1, "a label key", id="comma-first"),
        pytest.param("a,", 3, "it ends where a label key", id="comma-last"),
        pytest.param("a,,b", 3, "a label key", id="two-commas"),
        pytest.param("a b", 3, "an operator", id="no-operator"),
        pytest.param("a=b c", 5, "',' or the end", id="two-values"),
        pytest.param("a=b=c", 4, "',' or the end", id="two-operators"),
        pytest.param("a===b", 4, "a value", id="three-equals"),
        pytest.param("!a=b", 3, "',' or the end", id="absent-with-value"),
        pytest.param("!!a", 2, "a label key", id="twice-absent"),
        pytest.param("!", 2, "it ends where a label key", id="absent-of-nothing"),
        pytest.param("a!", 2, "an operator", id="mark-behind"),
        pytest.param("=b", 1, "a label key", id="no-key"),
        pytest.param("a in", 5, "'('", id="in-of-nothing"),
        pytest.param("a in x", 6, "'('", id="in-without-parentheses"),
        pytest.param("a in (x", 8, "',' or ')'", id="open-parenthesis"),
        pytest.param("a in (x y)", 9, "',' or ')'", id="no-comma"),
        pytest.param("a in (x))", 9, "',' or the end", id="parenthesis-too-many"),
        pytest.param("a in ((x))", 7, "a value", id="nested"),
        pytest.param("a=(x)", 3, "a value", id="parenthesis-after-equals"),
        pytest.param("a>b", 3, "an integer", id="greater-than-a-word"),
        pytest.param("a>", 3, "an integer", id="greater-than-nothing"),
        pytest.param("a>99999999999999999999", 3, "an integer", id="more-than-64-bits"),
        pytest.param("a<9223372036854775808", 3, "an integer", id="one-more-than-63-bits"),
        pytest.param("-a=b", 1, "not a label key", id="hyphen-first"),
        pytest.param("a-=b", 1, "not a label key", id="hyphen-last"),
        pytest.param("x/y/z", 1, "prefix", id="two-slashes"),
        pytest.param("/a", 1, "prefix", id="empty-prefix"),
        pytest.param("Up.Case/a", 1, "prefix", id="upper-case-prefix"),
        pytest.param("a/", 1, "not a label key", id="empty-name"),
        pytest.param(f"{'a' * 64}=b", 1, "not a label key", id="key-too-long"),
        pytest.param(f"a={'b' * 64}", 3, "not a label value", id="value-too-long"),
        pytest.param("a=-b", 3, "not a label value", id="value-with-hyphen-first"),
        pytest.param("a=b/c", 3, "not a label value", id="slash-in-value"),
        pytest.param("a in (x,-)", 9, "not a label value", id="bad-value-in-set"),
        pytest.param("schön=1", 1, "not a label key", id="not-ascii"),
        pytest.param("a\x00b", 1, "not a label key", id="nul"),
        pytest.param("a\x0b=b", 1, "not a label key", id="no-space-to-kubernetes"),
    ],
)
def test_a_syntax_error_has_its_place_and_cause(text: str, character: int, why: str) -> None:
    with pytest.raises(ValueError, match=f"character {character}:") as caught:
        parse(text)
    assert why in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "labels", "want"),
    [
        pytest.param("", {}, True, id="empty-matches-everything"),
        pytest.param("", {"a": "b"}, True, id="empty-matches-labels"),
        pytest.param("a=b", {"a": "b"}, True, id="equal"),
        pytest.param("a=b", {"a": "B"}, False, id="case-counts"),
        pytest.param("a=b", {}, False, id="equal-absent"),
        pytest.param("a==b", {"a": "b"}, True, id="double-equal"),
        pytest.param("a!=b", {"a": "c"}, True, id="unequal"),
        pytest.param("a!=b", {"a": "b"}, False, id="unequal-same"),
        pytest.param("a!=b", {}, True, id="unequal-absent"),
        pytest.param("a=", {"a": ""}, True, id="empty-value"),
        pytest.param("a=", {}, False, id="empty-value-absent"),
        pytest.param("a in (b,c)", {"a": "c"}, True, id="in"),
        pytest.param("a in (b,c)", {"a": "d"}, False, id="not-in"),
        pytest.param("a in (b,c)", {}, False, id="in-absent"),
        pytest.param("a in ()", {"a": ""}, True, id="in-empty"),
        pytest.param("a notin (b,c)", {"a": "d"}, True, id="notin"),
        pytest.param("a notin (b,c)", {"a": "b"}, False, id="notin-same"),
        pytest.param("a notin (b,c)", {}, True, id="notin-absent"),
        pytest.param("a", {"a": ""}, True, id="exists"),
        pytest.param("a", {"b": "a"}, False, id="exists-absent"),
        pytest.param("!a", {"b": "a"}, True, id="absent"),
        pytest.param("!a", {"a": ""}, False, id="absent-there"),
        pytest.param("a>5", {"a": "6"}, True, id="greater"),
        pytest.param("a>5", {"a": "5"}, False, id="greater-equal"),
        pytest.param("a<5", {"a": "-6"}, True, id="less"),
        pytest.param("a<5", {"a": "5"}, False, id="less-equal"),
        pytest.param("a<5", {}, False, id="less-absent"),
        pytest.param("a>5", {"a": "six"}, False, id="greater-of-a-word"),
        pytest.param("a>5", {"a": "1_0"}, False, id="greater-of-an-underscore"),
        pytest.param("a<5", {"a": "99999999999999999999"}, False, id="more-than-64-bits"),
        pytest.param("a=b,c", {"a": "b", "c": "d"}, True, id="all-hold"),
        pytest.param("a=b,c", {"a": "b"}, False, id="one-fails"),
        pytest.param("a,a!=b", {"a": "b"}, False, id="contradiction"),
        pytest.param("kubevirt.io/domain=db", {"domain": "db"}, False, id="prefix-counts"),
    ],
)
def test_selectors_match_as_in_kubernetes(text: str, labels: dict[str, str], want: bool) -> None:
    assert parse(text).matches(labels) is want


KEYS = st.from_regex(r"([a-z]{1,3}\.[a-z]{1,3}/)?[A-Za-z0-9]([-_.]?[A-Za-z0-9]){0,5}", fullmatch=True)
VALUES = st.from_regex(r"([A-Za-z0-9]([-_.]?[A-Za-z0-9]){0,5})?", fullmatch=True)


@given(KEYS, st.lists(VALUES, min_size=1), st.dictionaries(KEYS, VALUES))
def test_a_formatted_selector_parses_to_itself(key: str, values: list[str], labels: dict[str, str]) -> None:
    inside = parse(f"{key} in ({','.join(values)})")
    assert inside == Selector((requirement(key, "in", *values),))
    assert parse(f"{key} notin ({','.join(values)})").matches(labels) is not inside.matches(labels)
    assert parse(f"!{key}").matches(labels) is not parse(key).matches(labels)
    assert inside.matches({**labels, key: values[0]})


@given(st.text() | st.text(alphabet="ab1-,=!()<> in"))
def test_any_text_parses_or_raises_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse(text).matches({"a": "b"}) in (True, False)


def test_an_empty_selector_selects_everything() -> None:
    assert parse("") == EVERYTHING
