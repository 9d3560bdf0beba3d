"""Where VMIs come from."""

from ksd_ddns.source.file import STDIN, read

__all__ = ["STDIN", "read"]
