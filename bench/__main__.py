# SPDX-License-Identifier: Apache-2.0
"""`python -m bench` measures ksd-ddns against dig, nsupdate and bare loops, and prints the ratios.

Needs named, knotd, dig and nsupdate. It starts its own servers on free ports of the loopback interface. Speed and load
of the machine affect both sides of a ratio, so ratios can be compared between machines; seconds cannot. Exits with 1 if
a target was missed. With --quick there are no targets, because starting processes takes most of the time.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from bench import controller, queries, read, single, sync
from bench.timing import Contest, table
from harness.servers import stop_all
from ksd_ddns.cli import collect_seldom

FULL = 100_000
QUICK = 10_000


def main() -> int:
    """Run the benchmarks, print the tables, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "--only", choices=("read", "sync", "single", "queries", "controller"), help="run only this benchmark"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the records, few runs, no targets")
    options = parser.parse_args()
    quick = options.quick
    records = QUICK if quick else FULL
    measurements: dict[str, Callable[[], Iterator[Contest]]] = {
        "read": lambda: read.contests(records=records, times=3 if quick else 9),
        "sync": lambda: sync.contests(records=records, times=1 if quick else 5),
        "single": lambda: single.contests(sizes=(1_000, records), times=30 if quick else 500),
        "queries": lambda: queries.contests(times=30 if quick else 300),
        "controller": lambda: controller.contests(
            sizes=(1_000, records), vmis=records // 10, changes=30 if quick else 500, times=1 if quick else 5
        ),
    }
    collect_seldom()
    missed = False
    try:
        for name, measure in measurements.items():
            if options.only in {None, name}:
                contests = [replace(contest, target=None) if quick else contest for contest in measure()]
                print(*table(contests), "", sep="\n", flush=True)
                missed |= any(contest.missed for contest in contests)
    except KeyboardInterrupt:
        return 130
    finally:
        stop_all()
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
