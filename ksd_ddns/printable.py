"""Text that is safe to show: no control characters, no secrets."""

import re

MASK = "**********"
"""What is shown instead of a secret."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]{14,}={0,2}")
# DEL, C1 controls, line and paragraph separators, and what changes the direction of text: all in UTF-8.
_RAW = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def printable(text: str) -> str:
    r"""Return `text` without control characters: each is shown as an escape such as \x1b, also those of direction.

    What others write (names, annotations, files, a server's words) would otherwise control the terminal it is shown on.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode("ascii") for char in text
    )


def printable_json(document: bytes) -> bytes:
    """Return a JSON document in UTF-8 with the control characters that JSON allows as they are written as escapes."""
    if document.isascii() and b"\x7f" not in document:
        return document
    return _RAW.sub(lambda match: f"\\u{ord(match[0].decode()):04x}".encode(), document)


def looks_secret(text: str) -> bool:
    """Return whether `text` may be the secret of a key, or hold one: base64 of at least 80 bits, as keys are made."""
    return any(_is_random(token) for token in _BASE64.findall(text))


def _is_random(token: str) -> bool:
    plain = token.rstrip("=")
    mixed = any(map(str.isupper, plain)) and any(map(str.islower, plain)) and not plain.isalpha()
    return mixed and (len(plain) >= 32 or (plain != token and len(token) % 4 == 0)) and not token.startswith("/")


def masked(text: str) -> str:
    """Return `text` with what may be a secret replaced by asterisks."""
    return _BASE64.sub(lambda match: MASK if _is_random(match[0]) else match[0], text)
