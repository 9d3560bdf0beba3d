# SPDX-License-Identifier: Apache-2.0
"""Domain names: wire form, presentation form, and subdomain tests.

The core represents a name by its lower-case, uncompressed wire form (RFC 1035, 3.1), including the root label, so equal
names are equal bytes (RFC 4343). Length octets are at most 63, below the ASCII letters, so `bytes.lower()` on the full
wire form changes only the labels.
"""

import re
from collections.abc import Iterable

ROOT = b"\0"
MAX_LABEL = 63
MAX_NAME = 255

_PLAIN = re.compile(rb"[a-z0-9_*.-]+\Z")
_LEGAL_LABEL = re.compile(r"[a-z0-9_-]{1,63}\Z")
_HOST_LABEL = re.compile(rb"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_ESCAPE = re.compile(r"\\([0-9]{3}|.)|([^\\.])|(\.)", re.DOTALL)
_SPECIAL = b'"().;@$\\'


def from_text(text: str) -> bytes:
    r"""Parse the presentation form `text`, an absolute name with or without the final dot; return its wire form.

    Supports `\.` and `\DDD` (RFC 1035, 5.1). Raises ValueError with the cause.
    """
    if text in {"", "."}:
        return ROOT
    labels: list[bytearray] = [bytearray()]
    position = 0
    while position < len(text):
        match = _ESCAPE.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is not a domain name: it ends in a backslash")
        escaped, plain, dot = match.groups()
        position = match.end()
        if dot:
            labels.append(bytearray())
            continue
        try:
            labels[-1] += _octets(escaped) if escaped is not None else plain.encode("ascii")
        except (UnicodeEncodeError, OverflowError, ValueError) as e:
            raise ValueError(f"{text!r} is not a domain name: {match.group(0)!r} is not allowed in it") from e
    if not labels[-1]:
        labels.pop()
    return from_labels(bytes(label) for label in labels)


def _octets(escaped: str) -> bytes:
    return bytes([int(escaped)]) if len(escaped) == 3 else escaped.encode("ascii")


def from_labels(labels: Iterable[bytes]) -> bytes:
    """Return the name made of `labels`, most specific first. Raises ValueError if it is illegal (RFC 1035, 2.3.4)."""
    parts: list[bytes] = []
    for label in labels:
        if not 1 <= len(label) <= MAX_LABEL:
            raise ValueError(
                f"the label {label.decode('latin-1')!r} has {len(label)} octets: 1 to {MAX_LABEL} are allowed"
            )
        parts.append(bytes([len(label)]) + label.lower())
    name = b"".join(parts) + ROOT
    if len(name) > MAX_NAME:
        raise ValueError(f"the name {to_text(name)} has {len(name)} octets: {MAX_NAME} are allowed")
    return name


def to_text(name: bytes) -> str:
    """Return the presentation form with the final dot, special octets escaped (RFC 1035, 5.1; RFC 4343, 2.1)."""
    found = labels(name)
    text = b".".join(found) + b"."
    if _PLAIN.match(text) and text.count(b".") == len(found or [ROOT]):  # the common case: no label contains a dot
        return text.decode("ascii")
    return "".join(_label_text(label) + "." for label in found)


def _label_text(label: bytes) -> str:
    return "".join(
        f"\\{octet:03d}" if not 0x21 <= octet <= 0x7E else ("\\" if octet in _SPECIAL else "") + chr(octet)
        for octet in label
    )


def labels(name: bytes) -> list[bytes]:
    """Return the labels of `name`, most specific first, without the root."""
    found = []
    position = 0
    while length := name[position]:
        found.append(name[position + 1 : position + 1 + length])
        position += 1 + length
    return found


def canonical(name: bytes) -> list[bytes]:
    """Return the sort key of the canonical order of names (RFC 4034, 6.1)."""
    return labels(name)[::-1]


def parent(name: bytes) -> bytes:
    """Return `name` without its most specific label; the root has no parent and is returned unchanged."""
    return name[1 + name[0] :] if name[0] else name


def child(name: bytes, ancestor: bytes) -> bytes:
    """Return the label of `name` directly below `ancestor`, without its length; empty if `name` is not below it."""
    if not is_below(name, ancestor) or name == ancestor:
        return b""
    end = len(name) - len(ancestor)
    position = 0
    while position + 1 + name[position] < end:
        position += 1 + name[position]
    return name[position + 1 : end]


def is_below(name: bytes, ancestor: bytes) -> bool:
    """Return whether `name` is `ancestor` or below it, compared label by label."""
    if not name.endswith(ancestor):  # necessary, not sufficient: the match must start at a label
        return False
    start = len(name) - len(ancestor)
    position = 0
    while position < start:
        position += 1 + name[position]
    return position == start


def is_host_name(name: bytes) -> bool:
    """Return whether `name` is a valid host name (RFC 952; RFC 1123, 2.1), as some servers require for addresses.

    They allow wildcards of host names, too.
    """
    found = labels(name)
    return all(_HOST_LABEL.match(label) for label in (found[1:] if found[:1] == [b"*"] else found))


IN_ADDR_ARPA = b"\7in-addr\4arpa\0"
IP6_ARPA = b"\3ip6\4arpa\0"


def reverse(address: bytes, prefix: int | None = None) -> bytes:
    """Return the reverse name of a packed address, or of its first `prefix` bits (RFC 1035, 3.5; RFC 3596, 2.5).

    Raises ValueError if the prefix is not a multiple of 8 bits (IPv4) or 4 bits (IPv6).
    """
    v4 = len(address) == 4
    step = 8 if v4 else 4
    bits = 8 * len(address) if prefix is None else prefix
    if bits % step:
        raise ValueError(f"a reverse zone ends between two labels: a prefix of {step}, {2 * step}, … bits is needed")
    found = [digit.encode() for digit in (map(str, address) if v4 else address.hex())]
    below = b"".join(bytes([len(label)]) + label for label in reversed(found[: bits // step]))
    return below + (IN_ADDR_ARPA if v4 else IP6_ARPA)


def reversed_address(name: bytes) -> bytes | None:
    """Return the packed address with the reverse name `name`, None if `name` is not the reverse name of an address."""
    found = [label.decode("latin-1") for label in reversed(labels(name))]
    try:
        if is_below(name, IN_ADDR_ARPA) and len(found) == 6:
            address = bytes(int(label) for label in found[2:])
        elif is_below(name, IP6_ARPA) and len(found) == 34:
            address = bytes.fromhex("".join(found[2:]))
        else:
            return None
    except ValueError:
        return None
    return address if reverse(address) == name else None


def legal_label(text: str) -> bytes | None:
    """Return `text` as a length-prefixed, lower-case label, or None if published names may not contain it.

    Allowed are 1 to 63 letters, digits, hyphens and underscores, as in Kubernetes and KubeVirt. Only a forged object
    can have a label `*`, which would create a wildcard.
    """
    folded = text.lower()
    if not (text.isascii() and _LEGAL_LABEL.match(folded)):  # isascii() rejects the Kelvin sign, whose lower case is k
        return None
    return bytes([len(folded)]) + folded.encode("ascii")
