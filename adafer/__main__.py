"""Entry point of ``python -m adafer``."""

from .cli import main

if __name__ == "__main__":
    main()
