"""The command ``adafer render``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ..._files import check_output_file, new_file
from .assets import load_assets
from .domains import DOMAINS
from .gallery import draw_domains, draw_gallery
from .make import FACES, make_domain


def build_parser() -> argparse.ArgumentParser:
    """Describe the arguments.

    Returns
    -------
    argparse.ArgumentParser
    """
    parser = argparse.ArgumentParser(
        prog="adafer render",
        description="Render faces with known facial action units. With --output alone this "
        "makes the data set of load_facs_faces.",
    )
    parser.add_argument("--output", metavar="DIR", help="folder for the data set")
    parser.add_argument(
        "--domain", choices=[*DOMAINS, "all"], default="all", help="domain to render"
    )
    parser.add_argument(
        "--faces",
        choices=FACES,
        default="expressions",
        help="expressions with labels, or random combinations of action units without",
    )
    parser.add_argument("--n", type=int, default=1505, help="faces per domain")
    parser.add_argument("--size", type=int, default=64, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="seed, not negative")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes")
    parser.add_argument(
        "--folders", action="store_true", help="write pictures in a folder per label, not .npz"
    )
    parser.add_argument(
        "--gallery", metavar="FILE.png", help="draw each action unit alone into this picture"
    )
    parser.add_argument(
        "--contact-sheet", metavar="FILE.png", help="draw faces of each domain into this picture"
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
    sheets = {options.gallery: draw_gallery, options.contact_sheet: draw_domains}
    sheets.pop(None, None)
    if options.output is None and not sheets:
        parser.error("nothing to do: give --output DIR, --gallery FILE.png or --contact-sheet")
    try:
        for name in sheets:
            _check_sheet(Path(name), options.seed)
        for name, draw in sheets.items():
            _save(draw(load_assets(), seed=options.seed), Path(name))
        if options.output is not None:
            names = list(DOMAINS) if options.domain == "all" else [options.domain]
            for name in names:
                path = make_domain(
                    options.output,
                    name,
                    faces=options.faces,
                    n=options.n,
                    size=options.size,
                    seed=options.seed,
                    n_jobs=options.jobs,
                    folders=options.folders,
                    progress=_report if sys.stderr.isatty() else None,
                )
                print(f"wrote {path}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _check_sheet(path: Path, seed: int) -> None:
    if path.suffix.lower() != ".png":
        raise ValueError(f"The sheet is {str(path)!r}, expected a name that ends in .png.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}, expected an integer from 0 to {2**32 - 1}.")
    check_output_file(path)


def _save(sheet: Image.Image, path: Path) -> None:
    with new_file(path) as temporary:
        sheet.save(temporary, "PNG")
    print(f"wrote {path}")


def _report(done: int, total: int) -> None:
    print(f"\r{done} of {total} faces", end="\n" if done == total else "", file=sys.stderr)
