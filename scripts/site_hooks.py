"""Hooks of MkDocs (mkdocs.yml): what the pages need that GitHub shows without help."""

import posixpath
import re
from typing import Any

_FILE = re.compile(r"^```(?P<language>\w+) (?P<file>[\w.-]+)$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>\.\./[^)#\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with file names above their blocks, and without links to files that the site does not have."""
    directory = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(directory, match["target"]))
        return match["text"] if target.startswith("..") else match[0]

    return _LINK.sub(link, _FILE.sub(r'```\g<language> title="\g<file>"', markdown))
