"""`python -m ksd_ddns` is `ksd-ddns`."""

import sys

from ksd_ddns.cli import main

if __name__ == "__main__":
    sys.exit(main())
