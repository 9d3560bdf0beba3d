# SPDX-License-Identifier: Apache-2.0
"""Flags, environment and settings file -> settings, and errors that say what is allowed. No secret is ever shown."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ksd_ddns.config import primary, zones
from ksd_ddns.config.fields import ALGORITHM, KEY_NAME
from ksd_ddns.config.given import Given, fields
from ksd_ddns.config.settings import Settings
from ksd_ddns.errors import SettingsError, WrongSettings
from ksd_ddns.printable import MASK, looks_secret, masked
from ksd_ddns.zone.plan import Ownership, Read


def load(given: Given) -> Settings:
    """Return the settings.

    An empty flag is the default, whatever the environment and the file say. Raises SettingsError with each wrong
    setting, its value (secrets masked) and what is allowed.
    """
    _check_passwords(given)
    flags = {name: _flag_value(name, value) for name, value in given.flags.items()}
    try:
        # The environment is read by the settings themselves, and overridden by what is passed here.
        settings = Settings(**{**given.from_file, **flags})
    except ValidationError as e:
        raise WrongSettings([_error_text(error, given) for error in e.errors()]) from None
    _check_secrets(given)
    _check_templates(settings, given)
    zones.check(settings)
    _check_read(settings)
    primary.servers(settings)
    primary.secondaries(settings)
    return settings


def _check_read(settings: Settings) -> None:
    """Raise SettingsError if the zone cannot be read as the settings say."""
    if settings.read is Read.QUERIES and settings.ownership is Ownership.ZONE:
        raise SettingsError(
            "READ (--read) = queries needs OWNERSHIP (--ownership) = txt: without ownership records, only a transfer "
            "shows which names are ours"
        )


def _flag_value(name: str, value: Any) -> Any:
    return Settings.model_fields[name].default if isinstance(value, str) and not value.strip() else value


def _check_passwords(given: Given) -> None:
    """Raise WrongSettings if a value may hold a password, as in `user:password@host`: it would be shown."""
    found = [name for name, value in _values(given) if "@" in value and not (_is_path(name) and _may_be_path(value))]
    if found:
        raise WrongSettings(
            [f"{given.where(name)} = {MASK}: it has an @, and no setting takes a user or a password" for name in found]
        )


def _check_secrets(given: Given) -> None:
    """Raise SettingsError if a secret is in a setting that is shown or published."""
    raw = {name: str(given.raw(name) or "").strip() for name in fields() if name.endswith("_secret")}
    secrets = [value for value in raw.values() if len(value) >= 8]
    for name, value in _values(given):
        if _is_path(name):
            continue
        if looks_secret(value) or any(secret in value for secret in secrets):
            raise SettingsError(
                f"{given.where(name)} = {MASK}: this looks like the secret of a key; set TSIG_SECRET to it"
            )


def _check_templates(settings: Settings, given: Given) -> None:
    """Raise WrongSettings with the templates that let VMs take names of other namespaces."""
    found = zones.templates_across_namespaces(settings)
    if found:
        raise WrongSettings(
            [
                f"{given.where(name)} = {_shown(name, given.raw(name))}: VMs of one namespace could take names of "
                "another: end it with .{namespace}, or allow that with HOSTNAME_SCOPE=zone"
                for name in found
            ]
        )


def _values(given: Given) -> Iterator[tuple[str, str]]:
    """Yield the raw values of the settings that are set and may be shown: all but the secrets."""
    for name in fields():
        value = given.raw(name)
        if value is not None and not name.endswith("_secret"):
            yield name, str(value)


def _is_path(name: str) -> bool:
    return name.endswith(("_file", "_tls_ca", "_tls_cert", "_tls_key"))


def _may_be_path(value: str) -> bool:
    try:
        return value.startswith(("/", ".")) or Path(value).exists()
    except (OSError, ValueError):  # too long
        return False


class Origin(NamedTuple):
    """Where a setting comes from, and its value (secrets masked)."""

    name: str
    place: str
    shown: str


def origins(given: Given) -> list[Origin]:
    """Return the settings that are set, in the order of the reference; all others have their defaults."""
    return [
        Origin(name.upper(), given.place(name), _shown(name, value))
        for name in fields()
        if (value := given.raw(name)) is not None and str(value).strip()
    ]


_NEEDED = {
    "bool_parsing": "true or false is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "too_short": "at least one is needed",
}
"""Plain words for pydantic's messages."""


def _error_text(error: Any, given: Given) -> str:
    field = str(error["loc"][0])
    reason = _NEEDED.get(error["type"]) or str(error.get("ctx", {}).get("error") or error["msg"])
    if error["type"] in {"greater_than_equal", "less_than_equal"}:
        reason = f"must be {allowed(Settings.model_fields[field])}"
    elif error["type"] in {"enum", "literal_error"}:
        reason = f"must be {error['ctx']['expected']}"
    return f"{given.where(field)} = {_shown(field, given.raw(field))}: {masked(reason)}"


def _shown(field: str, value: Any) -> str:
    """Return a value as shown in an error; masked if it is, or may be, a secret."""
    text = str(value).strip()
    if field.endswith("_secret") or looks_secret(text):
        return MASK
    if "tsig" in field and not (KEY_NAME.match(text) or "/" in text):
        return MASK
    if field.endswith("tsig_algorithm") and not ALGORITHM.match(text):
        return MASK
    return text if re.fullmatch(r"-?\d+(\.\d+)?", text) else repr(text)


def allowed(info: FieldInfo) -> str:
    """Return the range of a number or a duration as text, "" if it has none."""
    limits = {key: getattr(item, key) for item in info.metadata for key in ("ge", "le") if hasattr(item, key)}
    if len(limits) < 2:
        return ""
    return " to ".join(_limit(limits[key], seconds=info.annotation is float) for key in ("ge", "le"))


def _limit(number: float, *, seconds: bool) -> str:
    if not seconds:
        return str(number)
    return f"{number * 1000:g}ms" if 0 < number < 1 else f"{number:g}s"
