# SPDX-License-Identifier: Apache-2.0
"""What is given for the settings: flags, environment and settings file, as raw values with their origin."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ksd_ddns.config import file
from ksd_ddns.config.settings import Settings, flag_of


@dataclass(frozen=True, slots=True)
class Given:
    """Raw values by field name. A flag overrides the environment, and that overrides the settings file.

    `flags` hold text, or the booleans of switches. `path` is the settings file, None without one.
    """

    flags: Mapping[str, Any]
    environment: Mapping[str, str]
    path: Path | None = None
    in_file: Mapping[str, str] = field(default_factory=dict)

    def raw(self, name: str) -> Any:
        """Return the raw value of a setting, None if it is not set."""
        if name in self.flags:
            return self.flags[name]
        return self._variable(name) or self.in_file.get(name)

    def place(self, name: str) -> str:
        """Return where the value of a setting comes from."""
        if name in self.flags:
            return flag_of(name)
        return str(self.path) if name in self.in_file and not self._variable(name) else "environment"

    def where(self, name: str) -> str:
        """Return a setting as its user has written it, for an error message."""
        if name not in self.flags and name in self.in_file and not self._variable(name):
            return f"{self.path}: {name}"
        return f"{name.upper()} ({flag_of(name)})"

    @property
    def from_file(self) -> Mapping[str, str]:
        """The values of the file that nothing overrides."""
        return {
            name: value for name, value in self.in_file.items() if name not in self.flags and not self._variable(name)
        }

    def _variable(self, name: str) -> str:
        """Return the value of the environment variable, empty if it is not set."""
        return next((value for key, value in self.environment.items() if key.lower() == name and value.strip()), "")


def given(flags: Mapping[str, Any], path: Path | None = None) -> Given:
    """Return what is given now; `path` is a settings file. Raises SettingsError if it cannot be read or is wrong."""
    in_file = {} if path is None else file.read(path, fields())
    return Given(flags, dict(os.environ), path, in_file)


def fields() -> Sequence[str]:
    """Return the names of all settings, in the order of the reference."""
    return tuple(Settings.model_fields)
