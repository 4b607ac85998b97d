"""`python -m smap_ros` is `smap-ros`."""

import sys

from smap_ros.cli import main

if __name__ == "__main__":
    sys.exit(main())
