"""``python -m stream``: the command ``gatejoin`` under the package's name. See stream/cli.py."""

import sys

from stream.cli import main

if __name__ == "__main__":
    sys.exit(main())
