# SPDX-License-Identifier: Apache-2.0
"""VMIs from files and standard input."""

from ksd_ddns.vmifile.file import STDIN, merged, read, read_all, read_objects

__all__ = ["STDIN", "merged", "read", "read_all", "read_objects"]
