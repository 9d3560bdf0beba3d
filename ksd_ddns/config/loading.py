"""Flags and environment -> settings, and errors that say what is allowed. No secret is ever shown."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ksd_ddns.config import primary
from ksd_ddns.config.fields import ALGORITHM, KEY_NAME
from ksd_ddns.config.settings import Settings, flag_of
from ksd_ddns.errors import SettingsError
from ksd_ddns.printable import MASK, looks_secret, masked


class WrongSettings(SettingsError):
    """One or more settings are wrong; `errors` has a text for each."""

    def __init__(self, errors: Sequence[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


def load(flags: Mapping[str, Any]) -> Settings:
    """Return the settings from `flags` (by field name) and the environment; flags win.

    An empty flag is the default, whatever the environment says. Raises SettingsError with each wrong setting, its value
    (secrets masked) and what is allowed.
    """
    given = {name: _flag_value(name, value) for name, value in flags.items()}
    try:
        settings = Settings(**given)
    except ValidationError as e:
        raise WrongSettings([_error_text(error, flags) for error in e.errors()]) from None
    _check_secrets(flags)
    primary.servers(settings)
    primary.secondaries(settings)
    return settings


def _flag_value(name: str, value: Any) -> Any:
    return Settings.model_fields[name].default if isinstance(value, str) and not value.strip() else value


def _check_secrets(flags: Mapping[str, Any]) -> None:
    """Raise SettingsError if a secret is in a setting that is shown or published."""
    raw = {name: str(value) for name in Settings.model_fields if (value := _raw(name, flags)) is not None}
    secrets = [value.strip() for name, value in raw.items() if name.endswith("_secret") and len(value.strip()) >= 8]
    for name, value in raw.items():
        if name.endswith(("_secret", "_file", "_tls_ca", "_tls_cert", "_tls_key")):
            continue
        if looks_secret(value) or any(secret in value for secret in secrets):
            raise SettingsError(f"{_where(name)} = {MASK}: this looks like the secret of a key; set TSIG_SECRET to it")


def _raw(name: str, flags: Mapping[str, Any]) -> Any:
    """Return the raw value of a setting, None if it is not set."""
    if name in flags:
        return flags[name]
    return next((value for key, value in os.environ.items() if key.lower() == name), None)


class Origin(NamedTuple):
    """Where a setting comes from, and its value (secrets masked)."""

    name: str
    place: str
    shown: str


def origins(flags: Mapping[str, Any]) -> list[Origin]:
    """Return the settings that are set, in the order of the reference; all others have their defaults."""
    return [
        Origin(name.upper(), flag_of(name) if name in flags else "environment", _shown(name, value))
        for name in Settings.model_fields
        if (value := _raw(name, flags)) is not None and str(value).strip()
    ]


# Kubernetes sets these for each Service of a namespace.
_OF_SERVICE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)\Z")


def misspelled(environment: Iterable[str]) -> list[tuple[str, str]]:
    """Return the unknown variables that look like a setting, each with the setting probably meant.

    Only those that differ in a letter or two, or have our name as a prefix, are returned.
    """
    ours = [name.upper() for name in Settings.model_fields]
    found = []
    for variable in sorted(environment):
        name = variable.upper()
        if name in ours or _OF_SERVICE.match(name):
            continue
        plain = re.sub(r"\AKSD_(DDNS_)?", "", name)
        meant = "" if plain == name else plain
        near = difflib.get_close_matches(name, ours, n=1, cutoff=0.9)
        if meant in ours or near:
            found.append((variable, meant if meant in ours else near[0]))
    return found


def _where(name: str) -> str:
    return f"{name.upper()} ({flag_of(name)})"


_NEEDED = {
    "bool_parsing": "true or false is needed",
    "int_parsing": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "too_short": "at least one is needed",
}
"""Plain words for pydantic's messages."""


def _error_text(error: Any, flags: Mapping[str, Any]) -> str:
    field = str(error["loc"][0])
    given = _raw(field, flags)
    reason = _NEEDED.get(error["type"]) or str(error.get("ctx", {}).get("error") or error["msg"])
    if error["type"] in {"greater_than_equal", "less_than_equal"}:
        reason = f"must be {allowed(Settings.model_fields[field])}"
    elif error["type"] in {"enum", "literal_error"}:
        reason = f"must be {error['ctx']['expected']}"
    return f"{_where(field)} = {_shown(field, given)}: {masked(reason)}"


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
