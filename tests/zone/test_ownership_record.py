# SPDX-License-Identifier: Apache-2.0
"""The ownership record in TXT rdata."""

import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksd_ddns.wire import txt
from ksd_ddns.wire.rrset import TXT, rrset
from ksd_ddns.zone import ownership_record
from ksd_ddns.zone.ownership_record import OwnershipRecord as Record

# What OWNER_ID and the API permit, and more: a field never contains a comma.
FIELD = st.text(
    st.characters(exclude_characters=",", exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"]),
    min_size=1,
    max_size=300,
)


def strings(*parts: bytes) -> bytes:
    """Return TXT rdata of these character-strings."""
    return b"".join(bytes([len(part)]) + part for part in parts)


@pytest.mark.parametrize(
    ("rdata", "want"),
    [
        pytest.param(strings(b"heritage=ksd-ddns,owner=o,vmi=ns/vm"), Record("o", "ns/vm"), id="ours"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o,vmi="), Record("o"), id="without-a-vmi"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o"), Record("o"), id="without-the-field-vmi"),
        pytest.param(strings(b"heritage=ksd-ddns,vmi=a/b,owner=o"), Record("o", "a/b"), id="in-another-order"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o,vmi=a/b,family=4"), Record("o", "a/b", ("family=4",)),
                     id="field-of-a-later-version"),
        pytest.param(strings(b"heritage=ksd-ddns,since=1,owner=o,vmi=a/b,x"), Record("o", "a/b", ("since=1", "x")),
                     id="fields-of-a-later-version-anywhere"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o,owner=p,vmi=a/b"), Record("o", "a/b", ("owner=p",)),
                     id="the-first-owner-counts"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=a=b,vmi=a/b"), Record("a=b", "a/b"), id="equals-sign-in-value"),
        pytest.param(strings(b"heritage=ksd-ddns,ow", b"ner=o,vmi=a/b"), Record("o", "a/b"), id="cut-anywhere"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=,vmi=a/b"), None, id="empty-owner"),
        pytest.param(strings(b"heritage=ksd-ddns"), None, id="heritage-alone"),
        pytest.param(strings(b"heritage=ksd-ddns2,owner=o,vmi=a/b"), None, id="longer-heritage"),
        pytest.param(strings(b"heritage=external-dns,external-dns/owner=o"), None, id="of-external-dns"),
        pytest.param(strings(b"Heritage=ksd-ddns,owner=o,vmi=a/b"), None, id="text-has-case"),
        pytest.param(strings(b" heritage=ksd-ddns,owner=o,vmi=a/b"), None, id="leading-space"),
        pytest.param(strings(b"v=spf1 -all"), None, id="other-text"),
        pytest.param(strings(b""), None, id="empty-text"),
        pytest.param(b"", None, id="no-rdata-at-all"),
        pytest.param(b"\x40heritage=ksd-ddns,owner=o", Record("o"), id="string-cut-short"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=\xff,vmi=a/b"), None, id="owner-is-not-text"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o\n,vmi=a/b"), None, id="newline-in-the-owner"),
        pytest.param(strings(b"heritage=ksd-ddns,owner=o,vmi=\x1b[2J"), None, id="terminal-sequence-in-the-vmi"),
        pytest.param(strings("heritage=ksd-ddns,owner=o,vmi=\u202egnp".encode()), None, id="right-to-left-override"),
    ],
)  # fmt: skip
def test_ownership_records_are_parsed(rdata: bytes, want: Record | None) -> None:
    assert ownership_record.parse(rdata) == want


@given(FIELD, st.just("") | FIELD, st.lists(FIELD.map(lambda value: f"x{value}"), max_size=2))
def test_a_formatted_ownership_record_parses_to_itself(owner: str, vmi: str, extra: list[str]) -> None:
    mark = Record(owner, vmi, tuple(extra))
    assert ownership_record.parse(mark.rdata()) == mark


def test_the_ownership_record_has_the_documented_text() -> None:
    text = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, Record("o", "ns/vm").rdata(), 0, 36)
    assert text.to_text() == '"heritage=ksd-ddns,owner=o,vmi=ns/vm"'


def test_unknown_fields_keep_their_octets() -> None:
    rdata = strings(b"heritage=ksd-ddns,owner=o,vmi=a/b,raw=\xff\xfe")
    parsed = ownership_record.parse(rdata)
    assert parsed is not None
    assert parsed.rdata() == rdata


@given(st.binary(max_size=70))
def test_any_rdata_is_parsed(rdata: bytes) -> None:
    for rest in (rdata, strings(b"heritage=ksd-ddns" + rdata), b"\x20heritage=ksd-ddns" + rdata):
        parsed = ownership_record.parse(rest)
        assert parsed is None or parsed.owner


@pytest.mark.parametrize("text", [b"x" * length for length in (0, 1, 254, 255, 256, 509, 510, 511, 1000)], ids=len)
def test_texts_are_split_into_strings_of_255_octets(text: bytes) -> None:
    rdata = txt.text_rdata(text)
    oracle = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, rdata, 0, len(rdata))
    assert isinstance(oracle, dns.rdtypes.ANY.TXT.TXT)
    assert b"".join(oracle.strings) == text == txt.join(rdata)
    assert list(oracle.strings) == txt.strings(rdata)
    assert {len(string) for string in txt.strings(rdata)[:-1]} <= {255}


@pytest.mark.parametrize(
    ("texts", "want"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["v=spf1"], "", id="foreign"),
        pytest.param(["v=spf1", "heritage=ksd-ddns,owner=me,vmi=a/b"], "a/b", id="beside-foreign"),
        pytest.param(["heritage=ksd-ddns,owner=you,vmi=c/d"], "", id="of-another-owner"),
        pytest.param(["heritage=ksd-ddns,owner=you,vmi=c/d", "heritage=ksd-ddns,owner=me,vmi=a/b"], "a/b", id="both"),
    ],
)
def test_the_ownership_record_of_an_owner(texts: list[str], want: str) -> None:
    found = ownership_record.owned(rrset(TXT, 60, [txt.text_rdata(text.encode()) for text in texts]), "me")
    assert (found.vmi if found else "") == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"heritage=ksd-ddns,owner=test,vmi=prod/db", True),
        (b"heritage=ksd-ddns,owner=", True),
        (b"heritage=external-dns,external-dns/owner=x", True),
        (b'"heritage=external-dns,external-dns/owner=x"', True),
        (b"rack 12", False),
        (b"", False),
        (b"no heritage=here", False),
    ],
)
def test_owner_texts_are_recognized(text: bytes, want: bool) -> None:
    assert ownership_record.is_ownership(txt.text_rdata(text)) is want
