"""The command ``python -m adafer.datasets.render``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .assets import ENVIRONMENT_VARIABLE, load_assets
from .domains import DOMAINS
from .gallery import draw_gallery
from .make import make_domain


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="python -m adafer.datasets.render",
        description="Render faces with known facial action units. Without options besides "
        "--output and --assets this makes the data set of load_facs_faces.",
    )
    parser.add_argument("--output", metavar="DIR", help="folder for the data set")
    parser.add_argument(
        "--domain", choices=[*DOMAINS, "all"], default="all", help="domain to render"
    )
    parser.add_argument("--n-identities", type=int, default=200, help="people per domain")
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed, not negative")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument(
        "--assets", metavar="DIR", help=f"MakeHuman data; default: ${ENVIRONMENT_VARIABLE}"
    )
    parser.add_argument(
        "--gallery", metavar="FILE.png", help="draw each action unit alone into this picture"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    int
        0, or 2 after an error, which is told on the standard error.
    """
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.output is None and options.gallery is None:
        parser.error("nothing to do: give --output DIR, --gallery FILE.png or both")
    try:
        if options.gallery is not None:
            _save_gallery(Path(options.gallery), options.assets, options.seed)
        if options.output is not None:
            names = list(DOMAINS) if options.domain == "all" else [options.domain]
            for name in names:
                path = make_domain(
                    options.output,
                    name,
                    assets=options.assets,
                    n_identities=options.n_identities,
                    size=options.size,
                    seed=options.seed,
                    n_jobs=options.jobs,
                    progress=_report if sys.stderr.isatty() else None,
                )
                print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _save_gallery(path: Path, assets: str | None, seed: int) -> None:
    if path.suffix.lower() != ".png":
        raise ValueError(f"The gallery is {str(path)!r}, expected a name that ends in .png.")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected an integer from 0 to {2**32 - 1}.")
    if not path.parent.is_dir():
        raise OSError(f"The folder of the gallery, {str(path.parent)!r}, does not exist.")
    draw_gallery(load_assets(assets), seed=seed).save(path)
    print(f"wrote {path}")


def _report(done: int, total: int) -> None:
    print(f"\r{done} of {total} people", end="\n" if done == total else "", file=sys.stderr)
