# SPDX-License-Identifier: Apache-2.0
"""Runs the same script against each name server, and writes docs/reference/servers.md.

    make servers                                        # the servers on PATH
    make servers SERVERS="/opt/knot-3.5/sbin /opt/bind-9.20/sbin"

Each directory in SERVERS is put in front of PATH, and the servers in it are tested. The page lists all servers that one
run tested.
"""
