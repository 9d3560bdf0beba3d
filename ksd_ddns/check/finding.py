"""What one check found."""

from enum import StrEnum

import msgspec

from ksd_ddns.errors import KsdError, Stanza


class Sign(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found: `what` was checked of what `subject`; for what is not right `cure` and `stanzas`."""

    sign: Sign
    what: str
    subject: str
    text: str
    cure: str = ""
    stanzas: tuple[Stanza, ...] = ()


def ok(what: str, subject: str, text: str) -> Finding:
    """Return that it is as it should be."""
    return Finding(sign=Sign.OK, what=what, subject=subject, text=text)


def warning(what: str, subject: str, text: str, cure: str) -> Finding:
    """Return that it works, and somebody should look at it."""
    return Finding(sign=Sign.WARN, what=what, subject=subject, text=text, cure=cure)


def failure(what: str, subject: str, text: str, cure: str, stanzas: tuple[Stanza, ...] = ()) -> Finding:
    """Return that it does not work."""
    return Finding(sign=Sign.FAIL, what=what, subject=subject, text=text, cure=cure, stanzas=stanzas)


def failed(what: str, subject: str, error: KsdError) -> Finding:
    """Return the failure that `error` is: its message says the cause and the cure."""
    return Finding(sign=Sign.FAIL, what=what, subject=subject, text=str(error))


def skipped(what: str, subject: str) -> Finding:
    """Return that it was not checked, since something before it failed."""
    return Finding(sign=Sign.SKIPPED, what=what, subject=subject, text="not checked")
