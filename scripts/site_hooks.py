# SPDX-License-Identifier: Apache-2.0
"""Hooks of MkDocs (mkdocs.yml): what the pages need that GitHub shows without help."""

import logging
import posixpath
import re
from typing import Any

_FILE = re.compile(r"^```(?P<language>\w+) (?P<file>[\w.-]+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)#\s]+)\)")
_FOREIGN = re.compile(r"""<(?:script|link|img|iframe)\s[^>]*?(?:src|href)=["'](?:https?:)?//[^"']+""")

_FOUND_FIRST = {"reference/settings.md": 4.0, "how-to/troubleshooting.md": 4.0}
"""Pages that answer most searches: the weight of their words. Without it, pages that repeat a word come first."""

_log = logging.getLogger("mkdocs.plugins.site")  # a warning of these loggers fails a strict build


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with file names above their blocks, and without links to files that the site does not have."""
    directory = posixpath.dirname(page.file.src_uri)
    if weight := _FOUND_FIRST.get(page.file.src_uri):
        page.meta["search"] = {"boost": weight}

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(directory, match["target"]))
        return match["text"] if target.startswith("..") else match[0]

    return _LINK.sub(link, _FILE.sub(r'```\g<language> title="\g<file>"', markdown))


def on_post_page(output: str, *, page: Any, **_: Any) -> None:
    """Warn if the page loads something from another host."""
    for found in _FOREIGN.findall(output):
        _log.warning("%s loads from another host: %s", page.file.src_uri, found)
