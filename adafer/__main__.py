"""Entry point of the command ``adafer`` and of ``python -m adafer``."""

import sys

from ._interrupt import EXIT_CODE, install, was_interrupted


def main() -> None:
    """Run the command with the arguments of the process."""
    install()
    try:
        from .cli import main as run

        run()
    except KeyboardInterrupt:
        _end()
    except SystemExit as end:
        # between the command's own handlers typer calls an interrupt "aborted"
        if was_interrupted() and end.code not in (0, None, EXIT_CODE):
            _end()
        raise


def _end() -> None:
    print("adafer: interrupted", file=sys.stderr)
    raise SystemExit(EXIT_CODE)


if __name__ == "__main__":
    main()
