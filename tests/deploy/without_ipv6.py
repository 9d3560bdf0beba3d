# SPDX-License-Identifier: Apache-2.0
"""Runs a command as a kernel does that was booted with ipv6.disable=1: it knows no sockets of IPv6.

    python without_ipv6.py COMMAND...

Switching IPv6 off by sysctl, as can be done in a network namespace, leaves such sockets, and `::` to listen on.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

_SOCKET = {"x86_64": 41, "aarch64": 198, "s390x": 359}
"""The number of the system call socket(2)."""

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_LOAD, _UNLESS, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000


def main() -> None:
    """Make socket(AF_INET6) fail in this process and its children."""
    first_argument = 16 if sys.byteorder == "little" else 20
    program = (
        (_LOAD, 0, 0, 0),
        (_UNLESS, 0, 3, _SOCKET[platform.machine()]),
        (_LOAD, 0, 0, first_argument),
        (_UNLESS, 0, 1, socket.AF_INET6),
        (_RETURN, 0, 0, _FAIL | errno.EAFNOSUPPORT),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    whole = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(whole))):
        if libc.prctl(*arguments) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
