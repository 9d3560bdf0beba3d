# SPDX-License-Identifier: Apache-2.0
"""The headers Accept and Accept-Encoding (RFC 9110, 12.4.2): what a client accepts, and what it prefers."""


def wants_html(accept: str) -> bool:
    """Return whether a client is a browser: programs ask for JSON, or for anything."""
    found = _qualities(accept)
    html = found.get("text/html", 0.0)
    return html > 0 and html >= found.get("application/json", 0.0)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a client accepts a compressed body."""
    found = _qualities(accept_encoding)
    return found.get("gzip", found.get("*", 0.0)) > 0


def _qualities(header: str) -> dict[str, float]:
    """Return the values of a header in lower case, each with its quality."""
    found: dict[str, float] = {}
    for each in header.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        qualities = [
            text.strip() for key, _, text in (part.partition("=") for part in parameters) if key.strip() == "q"
        ]
        found[name] = _number(qualities[0]) if qualities else 1.0
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
