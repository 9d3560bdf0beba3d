# SPDX-License-Identifier: Apache-2.0
"""Status objects for refused requests, in the words of the real API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from harness.kube.store import Json

CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)
LIST_EXPIRED = "The resourceVersion for the provided list is too old."
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
NO_SUCH_PAGE = "404 page not found\n"
TOO_MANY = "Too many requests, please try again later.\n"

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refused(Exception):
    """The request gets this answer and has no effect. `body` is a Status, or the text of an answer without one."""

    def __init__(self, code: int, body: Json | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{code}: {body}")
        self.code = code
        self.body = body
        self.headers = dict(headers or {})


def failure(code: int, message: str, *, reason: str | None = None, details: Mapping[str, Any] | None = None) -> Json:
    """Return a Status of kind Failure; the reason is the usual one of `code` unless it is given."""
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    reason = REASONS.get(code) if reason is None else reason
    if reason:
        status["reason"] = reason
    details = {key: value for key, value in (details or {}).items() if value}
    if details:
        status["details"] = details
    status["code"] = code
    return status


def refused(code: int, message: str, *, reason: str | None = None, **details: Any) -> Refused:
    return Refused(code, failure(code, message, reason=reason, details=details))


def unauthorized() -> Refused:
    return refused(401, "Unauthorized")


def forbidden(user: str, verb: str, *, group: str, plural: str, namespace: str = "", name: str = "") -> Refused:
    """Return the error of the authorizer for `plural`, which is resource or resource/subresource."""
    subject = f"{plural}.{group}" if group else plural
    quoted = f'{subject} "{name}"' if name else subject
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    message = f'{quoted} is forbidden: User "{user}" cannot {verb} resource "{plural}" in API group "{group}" {where}'
    return refused(403, message, name=name, group=group, kind=plural)


def forbidden_path(user: str, verb: str, path: str) -> Refused:
    return refused(403, f'forbidden: User "{user}" cannot {verb} path "{path}"')


def not_found(qualified: str, name: str, *, group: str, plural: str) -> Refused:
    return refused(404, f'{qualified} "{name}" not found', name=name, group=group, kind=plural)


def invalid(qualified: str, name: str, *, group: str, kind: str, causes: Sequence[tuple[str, str, str]]) -> Refused:
    """Return a refusal for `causes`: field, type of error, text."""
    texts = [f"{field}: {text}" for field, _, text in causes]
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return refused(
        422,
        f'{qualified} "{name}" is invalid: {listed}',
        name=name,
        group=group,
        kind=kind,
        causes=[{"reason": why, "message": text, "field": field} for field, why, text in causes],
    )


def expired(message: str) -> Json:
    return failure(410, message)


def too_large_version(wanted: int, current: int) -> Refused:
    """Return the error for a list at a version that does not exist yet."""
    status = failure(
        504,
        f"Timeout: Too large resource version: {wanted}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
    return Refused(504, status, {"Retry-After": "1"})


def phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"
