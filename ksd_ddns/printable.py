# SPDX-License-Identifier: Apache-2.0
"""Text that is safe to show: no control characters, no secrets."""

import re

MASK = "**********"
"""What is shown instead of a secret."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]{14,}={0,2}")
_PASSWORD = re.compile(r"[^\s'\"]*:[^\s'\"]*@")  # of user:password@host
# DEL, C1 controls, line and paragraph separators, and bidirectional controls, in UTF-8.
_RAW = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def printable(text: str) -> str:
    r"""Return `text` with control and bidirectional characters replaced by escapes such as \x1b.

    Text from others (names, annotations, files, messages of servers) could otherwise control the terminal.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def printable_json(document: bytes) -> bytes:
    """Return a UTF-8 JSON document with escapes for the control characters that JSON allows in strings."""
    if document.isascii() and b"\x7f" not in document:
        return document
    return _RAW.sub(lambda match: f"\\u{ord(match[0].decode()):04x}".encode(), document)


def looks_secret(text: str) -> bool:
    """Return whether `text` contains what may be the secret of a key: base64 of at least 80 random bits."""
    return any(_is_random(token) for token in _BASE64.findall(text))


def _is_random(token: str) -> bool:
    plain = token.rstrip("=")
    mixed = any(map(str.isupper, plain)) and any(map(str.islower, plain)) and not plain.isalpha()
    return mixed and (len(plain) >= 32 or (plain != token and len(token) % 4 == 0)) and not token.startswith("/")


def masked(text: str) -> str:
    """Return `text` with possible secrets replaced by asterisks."""
    shown = _BASE64.sub(lambda match: MASK if _is_random(match[0]) else match[0], text)
    return _PASSWORD.sub(f"{MASK}@", shown)
