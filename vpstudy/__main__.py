"""`python -m vpstudy`."""

import sys

from vpstudy.cli import main

if __name__ == "__main__":
    sys.exit(main())
