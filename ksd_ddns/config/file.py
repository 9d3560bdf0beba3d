# SPDX-License-Identifier: Apache-2.0
"""A settings file in TOML: a key for each setting, `dns_server = "10.0.0.53"`.

A value becomes the text that the environment variable would hold, so that it is parsed and checked in one way. (The
TOML source of pydantic-settings ignores a missing file, and passes on numbers and lists that no field type expects.)
"""

import difflib
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ksd_ddns.errors import SettingsError, WrongSettings
from ksd_ddns.printable import masked


def read(path: Path, settings: Collection[str]) -> dict[str, str]:
    """Return the values in the file by name, as text; one of `settings` each.

    Raises SettingsError if the file cannot be read, WrongSettings with each key that is unknown or has a value of a
    wrong type.
    """
    try:
        # Editors on Windows write a byte order mark.
        found = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as e:
        raise SettingsError(f"--config {path}: {e.strerror or 'it cannot be read'}") from e
    except UnicodeDecodeError:
        raise SettingsError(f"--config {path}: it is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as e:
        fix = 'text needs quotes, as in domain = "example.com"'
        raise SettingsError(f"--config {path}: it is not TOML: {masked(str(e))}; {fix}") from None
    except RecursionError:
        raise SettingsError(f"--config {path}: its values are nested too deeply") from None
    errors = [
        f"{path}: unknown setting {masked(key)!r}{_hint(key, value, settings)}"
        for key, value in found.items()
        if key not in settings
    ]
    texts: dict[str, str] = {}
    for key in (key for key in found if key in settings):
        text = _text(found[key])
        if text is None:
            errors.append(f"{path}: {key}: a string, a number, true, false or a list of strings is needed")
        else:
            texts[key] = text
    if errors:
        raise WrongSettings(errors)
    return texts


def _hint(key: str, value: Any, settings: Collection[str]) -> str:
    if isinstance(value, dict):
        return ": there are no tables, write all settings at the top level"
    near = difflib.get_close_matches(key.lower().replace("-", "_"), settings, n=1, cutoff=0.75)
    return f": did you mean {near[0]}?" if near else ""


def _text(value: Any) -> str | None:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return value
        case int() | float():
            return str(value)
        case list() if all(isinstance(item, str) for item in value):
            return ",".join(value)
        case _:
            return None
