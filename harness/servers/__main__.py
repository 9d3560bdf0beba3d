# SPDX-License-Identifier: Apache-2.0
"""`python -m harness.servers bind9` serves a bundled primary until Ctrl-C."""

import contextlib
import signal
import sys

from harness.servers import Bind, Knot


def main(kind: str) -> None:
    """Serve a bundled primary until Ctrl-C."""
    with (Bind if kind == "bind9" else Knot)() as server:
        print(f"{server}\nnslookup -port={server.port} -type=SOA {server.base} {server.address}\nkey {server.key_file}")
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
