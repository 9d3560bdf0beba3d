"""Where VMIs come from."""

from ksd_ddns.vmifile.file import STDIN, merged, read, read_all

__all__ = ["STDIN", "merged", "read", "read_all"]
