#!/usr/bin/env python3
"""Write docs/reference/settings.md from the settings model. With --check, only compare it."""

import sys
from pathlib import Path

from pydantic.fields import FieldInfo

from ksd_ddns.config.settings import Settings, flag_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"

_HEAD = """\
# Settings

<!-- Written by scripts/reference.py from ksd_ddns/config/settings.py. Change the text there. -->

Every setting is an environment variable and a flag: `DNS_SERVER` is `--dns-server`. A flag overrides the environment
variable. `ksd-ddns plan --help` prints the same list.

A wrong setting ends the command with exit code 2, before the primary is contacted. The message shows the setting, its
value and the allowed values. Secrets are never shown. Put keys into files: a secret in a flag is visible in the process
list.

- White space around a value is ignored. An empty value means that the setting is not set.
- A **comma list** may have spaces around the commas.
- A **duration** is a number and a unit, such as `500ms`, `30s`, `1m30s` or `1h`. A number alone is in seconds.
- A **switch** is `true` or `false` in the environment. As a flag it is `--adopt` or `--no-adopt`, without a value.
- A **CIDR block** is a prefix such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
- A **name** may end with a dot or not. Upper case is folded.
"""


def page() -> str:
    """Return the whole page."""
    groups: dict[str, list[str]] = {}
    for name, info in Settings.model_fields.items():
        extra = info.json_schema_extra
        about = extra if isinstance(extra, dict) else {}
        cells = (f"`{name.upper()}`<br>`{flag_of(name)}`", _shown(about.get("shown")), _meaning(info))
        groups.setdefault(str(about.get("group")), []).append(f"| {' | '.join(cells)} |")
    return _HEAD + "".join(
        f"\n## {title[0].upper()}{title[1:]}\n\n| setting | default | meaning |\n| --- | --- | --- |\n"
        + "".join(f"{row}\n" for row in rows)
        for title, rows in groups.items()
    )


def _shown(default: object) -> str:
    text = str(default)
    # A description is text, a value is code.
    return text if " " in text or text in {"empty", "all", "none", "nowhere"} else f"`{text}`"


def _meaning(info: FieldInfo) -> str:
    text = f"{info.description}".replace("<", "&lt;").replace("|", "\\|")
    allowed = _allowed(info)
    return f"{text} ({allowed})" if allowed else text


def _allowed(info: FieldInfo) -> str:
    """Return the limits of a number; other rules are in the description."""
    limits = {key: getattr(item, key) for item in info.metadata for key in ("ge", "le") if hasattr(item, key)}
    if len(limits) < 2:
        return ""
    return f"{limits['ge']:,} to {limits['le']:,}{' seconds' if info.annotation is float else ''}"


def main() -> int:
    """Write or compare the page; return the exit code."""
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    print(f"{PAGE} is out of date: run scripts/reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
