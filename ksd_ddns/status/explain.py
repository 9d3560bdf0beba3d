# SPDX-License-Identifier: Apache-2.0
"""`/explain?vmi=NAMESPACE/VM` and `/explain?name=NAME`: an explanation as JSON, and for browsers as a page.

`answer` parses the question and puts it to the controllers. Both forms are made from the same document.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ksd_ddns.printable import printable_json
from ksd_ddns.status import accept
from ksd_ddns.status.overview import LONGEST_KEY
from ksd_ddns.status.pages import Page, Pages, plain
from ksd_ddns.sync.explain import Explainer, Unanswered
from ksd_ddns.zone import explain
from ksd_ddns.zone.render import explained
from ksd_ddns.zone.render.explained import Document

_USAGE = "use /explain?vmi=NAMESPACE/VM or /explain?name=NAME"


def page(query: Mapping[str, Sequence[str]], explainer: Explainer | None, accepted: str, pages: Pages) -> Page:
    """Return the explanation as a page if the Accept header asks for HTML, else as JSON; an error as text."""
    found = pages.standby() or answer(query, explainer)
    if isinstance(found, Page):
        return found
    if accept.wants_html(accepted):
        return pages.explanation(found)
    vary = (("Vary", "Accept, Accept-Encoding"),)
    return Page(HTTPStatus.OK, "application/json", printable_json(explained.encoded(found)) + b"\n", vary)


def answer(  # noqa: PLR0911 one for each error
    query: Mapping[str, Sequence[str]], explainer: Explainer | None
) -> Document | Page:
    """Return the explanation that `query` asks for, or a page with the reason why there is none."""
    found = [(kind, text) for kind in ("vmi", "name") for text in query.get(kind, [])]
    if explainer is None:
        return plain(HTTPStatus.NOT_FOUND, "no explanations here")
    if len(found) != 1 or len(found[0][1]) > LONGEST_KEY:
        return plain(HTTPStatus.BAD_REQUEST, _USAGE)
    ((kind, text),) = found
    try:
        if kind == "name":
            return explained.name(explainer.name(text), explainer.clock())
        if explain.is_vmi_key(text):
            return explained.vmi(explainer.vmi(text), explainer.clock())
    except Unanswered as e:
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, f"{e}, try again", **{"Retry-After": "2"})
    except ValueError as e:
        return plain(HTTPStatus.BAD_REQUEST, str(e))
    return plain(HTTPStatus.BAD_REQUEST, f"{text!r} is not a VM: {_USAGE}")
