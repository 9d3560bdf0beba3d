# SPDX-License-Identifier: Apache-2.0
"""The settings of a command, from its flags, the environment and the settings file, and warnings about them."""

from collections.abc import Callable, Mapping
from typing import Any

from ksd_ddns.cli.options import Options
from ksd_ddns.cli.session import warn
from ksd_ddns.config import loading
from ksd_ddns.config.doubts import Doubt, doubts
from ksd_ddns.config.given import given
from ksd_ddns.config.settings import Settings


def _print(doubt: Doubt) -> None:
    warn(str(doubt))


def load(
    asked: Options, fixed: Mapping[str, Any] | None = None, *, report: Callable[[Doubt], None] = _print
) -> Settings:
    """Return the settings of a command, and `report` each that is probably wrong; `fixed` override all others.

    Raises SettingsError.
    """
    raw = given({**asked.flags, **(fixed or {})}, asked.config)
    chosen = loading.load(raw)
    for doubt in doubts(chosen, raw):
        report(doubt)
    return chosen
