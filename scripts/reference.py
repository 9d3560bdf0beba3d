#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference/settings.md from the settings model."""

from pathlib import Path

from pydantic.fields import FieldInfo

from ksd_ddns.config.settings import Settings, flag_of

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"

_HEAD = """\
# Settings

<!-- Written by scripts/reference.py from ksd_ddns/config/settings.py. Change the text there. -->

Every setting is an environment variable, a flag, and a key of the [settings file](#the-settings-file): `DNS_SERVER` is
`--dns-server` and `dns_server`. A flag overrides the environment variable, and that overrides the file. `ksd-ddns plan
--help-all` prints the same list, and `ksd-ddns help reverse` the settings with the word `reverse`.

A wrong setting ends the command with exit code 2, before the primary is contacted. The message shows the setting, its
value and the allowed values. Secrets are never shown. Put keys into files: a secret in a flag is visible in the process
list. No setting takes a user and a password: a value with an `@`, such as `user:password@host`, is refused without
showing it, except in the path of a file.

- White space around a value is ignored. An empty value means that the setting is not set.
- A **comma list** may have spaces around the commas.
- A **duration** is a number and a unit, such as `500ms`, `30s`, `1m30s` or `1h`. A number alone is in seconds.
- A **switch** is `true` or `false` in the environment. As a flag it is `--adopt` or `--no-adopt`, without a value.
- A **CIDR block** is a prefix such as `10.0.0.0/8` or `2001:db8::/32`, or a single address.
- A **name** may end with a dot or not. Upper case is folded.
"""

_NEEDS = (
    (
        "change the names of VMs and interfaces, for example to `web-prod`",
        "[`INTERFACE_NAME`, `DEFAULT_NAME`](../how-to/names.md#change-the-names)",
    ),
    (
        "publish only some namespaces or VMs",
        "[`NAMESPACES`, `LABEL_SELECTOR`](../how-to/names.md#publish-some-vms)",
    ),
    (
        "publish only some networks, or the pod network, too",
        "[`NETWORKS`](../how-to/names.md#publish-some-networks), `PUBLISH_CIDRS`, `EXCLUDE_CIDRS`",
    ),
    (
        "publish PTR records, in all reverse zones of the primary",
        "[`REVERSE_ZONES=auto`](../how-to/reverse-zones.md#all-zones-of-the-primary-auto)",
    ),
    (
        "not delete more than some names at once, or none",
        "[`MAX_DELETE_PERCENT`](../explanation/safety.md#the-deletion-limit), `POLICY=upsert-only`",
    ),
    (
        "share a zone between several clusters",
        "[`OWNER_ID`](../how-to/several-clusters.md)",
    ),
    (
        "take over names that exist",
        "[`ADOPT`, `TAKE_OVER_FROM`](../how-to/move.md)",
    ),
    (
        "change the TTL",
        "`RECORD_TTL`, or the [annotation `ksd-ddns/ttl`](records.md#annotations)",
    ),
    (
        "keep the addresses of a VM whose guest agent stops",
        "`HOLD_DOWN`",
    ),
    (
        "publish in a zone that cannot be transferred",
        "[`READ=queries`](../how-to/zones-without-transfer.md)",
    ),
    (
        "run several controllers",
        "[`LEADER_ELECTION`](../explanation/safety.md#several-controllers)",
    ),
)
"""What people look for, and the settings for it."""

_FILE = """
## The settings file

`--config ksd-ddns.toml` reads settings from a file in [TOML](https://toml.io), for setups outside of a cluster:

```toml
domain = "example.com"
dns_server = ["10.0.0.53:53", "10.0.0.54:53"]
tsig_key_file = "/etc/ksd-ddns/ksd-ddns.key"
record_ttl = 60
adopt = true
```

- A key is the name of a setting in lower case. There are no tables. An unknown key is an error that names the file, the
  key, and the setting that was probably meant.
- A value is a string, a number, `true` or `false`. A comma list can also be a list of strings.
- Refer to secrets by the path of a file (`tsig_key_file`). A secret in the settings file itself is allowed; the
  commands warn if other users can read the file.
- A relative path in the file is relative to the directory in which the command runs. Write absolute paths.
- The file is read when the command starts.

[examples/ksd-ddns.toml](../../examples/ksd-ddns.toml) is a file to start from, and
[examples/ksd-ddns.service](../../examples/ksd-ddns.service) a systemd unit that uses it, with key and kubeconfig as
credentials.
"""


def page() -> str:
    """Return the page."""
    groups: dict[str, list[str]] = {}
    for name, info in Settings.model_fields.items():
        extra = info.json_schema_extra
        about = extra if isinstance(extra, dict) else {}
        cells = (f"`{name.upper()}`<br>`{flag_of(name)}`", _shown(about.get("shown")), _meaning(info))
        groups.setdefault(str(about.get("group")), []).append(f"| {' | '.join(cells)} |")
    return (
        _HEAD
        + "\n## Find a setting\n\n| you want to | setting |\n| --- | --- |\n"
        + "".join(f"| {need} | {found} |\n" for need, found in _NEEDS)
        + "".join(
            f"\n## {title[0].upper()}{title[1:]}\n\n| setting | default | meaning |\n| --- | --- | --- |\n"
            + "".join(f"{row}\n" for row in rows)
            for title, rows in groups.items()
        )
        + _FILE
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


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
