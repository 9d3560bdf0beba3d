# SPDX-License-Identifier: Apache-2.0
"""TXT rdata: character-strings (RFC 1035, 3.3.14)."""


def join(rdata: bytes) -> bytes:
    """Return the character-strings of a TXT `rdata` joined; a truncated string ends at the end of the rdata."""
    if len(rdata) == rdata[0] + 1:
        return rdata[1:]
    return b"".join(strings(rdata))


def strings(rdata: bytes) -> list[bytes]:
    """Return the character-strings of a TXT `rdata`."""
    found = []
    position = 0
    while position < len(rdata):
        end = position + 1 + rdata[position]
        found.append(rdata[position + 1 : end])
        position = end
    return found


def text_rdata(text: bytes) -> bytes:
    """Return `text` as TXT rdata, split into character-strings of at most 255 octets."""
    pieces = [text[i : i + 255] for i in range(0, len(text), 255)] or [b""]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)
