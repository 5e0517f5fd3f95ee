"""Entry point of ``python -m adafer.datasets.render``."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
