"""Hooks of MkDocs (mkdocs.yml): what the pages need that GitHub shows without help."""

import re
from typing import Any

_FILE = re.compile(r"^```(?P<language>\w+) (?P<file>[\w.-]+)$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Show the name of a file above its block: GitHub ignores it in "```yaml vmis.yaml", MkDocs wants a title."""
    return _FILE.sub(r'```\g<language> title="\g<file>"', markdown)
