# SPDX-License-Identifier: Apache-2.0
"""Key, zone files and configuration of the bundled primary: a BIND 9 or a Knot that serves the base and reverse zones.

All files of the server are in one directory, so that it runs as any unprivileged user and on a
read-only root file system. (Knot 3 keeps its parsed configuration in a deleted file in /tmp, which must be writable.)

Existing files are never overwritten: the key, the zone with its journal, and the configuration, which may have been
edited.
"""

from ksd_ddns.bootstrap.bundled import KEY_FILE, TRANSFER_KEY_FILE, BundledPrimary, BundledSecondary
from ksd_ddns.bootstrap.files import Outcome, Written
from ksd_ddns.bootstrap.writing import command, write, write_secondary
from ksd_ddns.bootstrap.zones import CATALOG, new_serial, zone_text

__all__ = [
    "CATALOG",
    "KEY_FILE",
    "TRANSFER_KEY_FILE",
    "BundledPrimary",
    "BundledSecondary",
    "Outcome",
    "Written",
    "command",
    "new_serial",
    "write",
    "write_secondary",
    "zone_text",
]
