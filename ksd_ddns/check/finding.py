# SPDX-License-Identifier: Apache-2.0
"""The result of one check."""

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
    """The result of one check: `what` was checked, on which `subject`; `fix` and `stanzas` say what to do."""

    sign: Sign
    what: str
    subject: str
    text: str
    fix: str = ""
    stanzas: tuple[Stanza, ...] = ()


def ok(what: str, subject: str, text: str) -> Finding:
    """Return a finding without a problem."""
    return Finding(sign=Sign.OK, what=what, subject=subject, text=text)


def warning(what: str, subject: str, text: str, fix: str) -> Finding:
    """Return a finding that works, but needs attention."""
    return Finding(sign=Sign.WARN, what=what, subject=subject, text=text, fix=fix)


def failure(what: str, subject: str, text: str, fix: str, stanzas: tuple[Stanza, ...] = ()) -> Finding:
    """Return a failure."""
    return Finding(sign=Sign.FAIL, what=what, subject=subject, text=text, fix=fix, stanzas=stanzas)


def failed(what: str, subject: str, error: KsdError) -> Finding:
    """Return `error` as a failure; its message includes cause and fix."""
    return Finding(sign=Sign.FAIL, what=what, subject=subject, text=str(error))


def skipped(what: str, subject: str) -> Finding:
    """Return that this was not checked, because an earlier check failed."""
    return Finding(sign=Sign.SKIPPED, what=what, subject=subject, text="not checked")
