"""Training the AU heads on rendered faces: ``python -m adafer.aus.training --help``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import expit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from .._files import check_output_file
from .appearance import CROP
from .facs import parse_au_name
from .heads import TrainedHeads, Views, look_at
from .landmarks import LandmarkDetector
from .measurements import Measurements, align_points

__all__ = [
    "HEAD_AUS",
    "VISIBLE",
    "HeadsReport",
    "degrade",
    "fit_heads",
    "measure_both",
    "measure_renders",
    "read_renders",
]

# The AUs of the heads in the package.
HEAD_AUS: tuple[str, ...] = tuple(
    f"AU{number:02d}"
    for number in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 43)
)
SHRINKAGE = (1e-2, 1e-1, 3e-3)
# Taught by expressions, these two are missed in faces whose mouth does not go
# along: angry ones that bare their teeth.
BY_THEMSELVES: tuple[str, ...] = ("AU04", "AU07")
VISIBLE = 0.2  # intensity from which an AU counts as visible, FACS level A
_PART = 200  # faces measured by one process at a time
_STRONGER = {"AU26": "AU27"}  # the jaw drops further: one movement, two numbers
_RIGHT_EYE, _LEFT_EYE, _FOREHEAD, _CHIN = 33, 263, 10, 152


class HeadsReport(NamedTuple):
    """How well heads score the faces of a domain they were not trained on.

    Attributes
    ----------
    domains : list of str
        The domain that was held out.
    auc : ndarray of float64 of shape (n_domains, n_aus)
        Area under the ROC curve of the whole heads.
    auc_of_views : ndarray of float64 of shape (n_domains, 4, n_aus)
        The same of each view alone, in the order of `adafer.aus.heads.Views`.
    brier : ndarray of float64 of shape (n_aus,)
        Brier score of the calibrated probabilities, over all domains.
    """

    domains: list[str]
    auc: NDArray[np.float64]
    auc_of_views: NDArray[np.float64]
    brier: NDArray[np.float64]


def fit_heads(
    measured: Measurements,
    intensities: ArrayLike,
    au_names: Sequence[str],
    domains: ArrayLike,
    *,
    expressions: ArrayLike | None = None,
    by_themselves: Sequence[str] = BY_THEMSELVES,
    shrinkage: tuple[float, float, float] = SHRINKAGE,
    visible: float = VISIBLE,
) -> tuple[TrainedHeads, HeadsReport]:
    """Train AU heads on faces whose AU intensities are known.

    The three linear views are ridge regressions of the intensities. How their mean
    becomes a probability is fitted on faces of domains that the regressions
    did not see, each domain held out in turn.

    Parameters
    ----------
    measured : Measurements
        Of n faces, without NaN.
    intensities : array-like of shape (n, n_aus), values in [0, 1]
    au_names : sequence of str
        Names of the columns of `intensities`.
    domains : array-like of str of shape (n,)
        The domain of each face; two at least.
    expressions : array-like of bool of shape (n,), optional
        True for faces that show an expression, False for those that show a
        random combination of AUs, all by default. In expressions AUs go together,
        so that one is told by others too.
    by_themselves : sequence of str, default=("AU04", "AU07")
        AUs whose regressions are trained on combinations alone.
    shrinkage : tuple of three floats
        Penalties of the ridge regressions on landmarks, blendshapes and
        appearance, in parts of the total variance of their features. Much more
        than what fits rendered faces best, because the details of real faces
        differ from theirs.
    visible : float, default=0.2
        Intensity from which an AU counts as visible.

    Returns
    -------
    heads : TrainedHeads
    report : HeadsReport

    Raises
    ------
    ValueError
        If lengths or shapes do not fit, values are NaN, there is but one
        domain, an AU is never or always visible in one, or there are
        expressions alone.
    """
    intensities, domains = np.asarray(intensities), np.asarray(domains).astype(str)
    names = tuple(au_names)
    _check_faces(measured, intensities, names, domains)
    posed = np.zeros(len(domains), dtype=bool) if expressions is None else np.asarray(expressions)
    if posed.shape != domains.shape or posed.dtype != bool:
        raise ValueError(
            f"expressions must be {len(domains)} times True or False; got shape {posed.shape} of "
            f"{posed.dtype}."
        )
    for part in sorted(set(domains)):
        if posed[domains == part].all():
            raise ValueError(
                f"All faces of the domain {str(part)!r} show expressions; some must show random "
                "combinations. Render them with `adafer render --faces combinations`."
            )
    apart = np.isin(names, list(by_themselves))
    shown = intensities >= visible
    parts = sorted({str(domain) for domain in domains})
    for part in parts:
        share = shown[domains == part].mean(axis=0)
        for au, value in zip(names, share, strict=True):
            if value in (0, 1):
                raise ValueError(
                    f"{au} is visible in {value:.0%} of the faces of the domain {part!r}; some "
                    "must show it and some not. Render more faces, or leave the AU out."
                )

    reference, mirror = mean_shape(measured.points)
    views = look_at(measured, names, reference, mirror)
    shape: dict[str, Any] = {
        "reference": reference.astype(np.float32),
        "mirror": mirror.astype(np.int64),
        "calibration": np.ones((2, len(names)), dtype=np.float32),
    }

    def train(which: NDArray[np.bool_]) -> TrainedHeads:
        weights = _fit_views(views.rows(which), intensities[which], shrinkage)
        if (posed & which).any() and apart.any():
            which = which & ~posed
            alone = _fit_views(views.rows(which), intensities[which], shrinkage)
            for view, columns in alone.items():
                weights[view][:, apart] = columns[:, apart]
        return TrainedHeads(names, **shape, **weights)

    unseen = np.empty((4, len(domains), len(names)))
    for part in parts:
        held_out = domains == part
        unseen[:, held_out] = train(~held_out).opinions(views.rows(held_out))
    mean = np.nanmean(unseen, axis=0)
    calibration = np.stack([_fit_logistic(mean[:, k], shown[:, k]) for k in range(len(names))], 1)
    heads = replace(train(np.full(len(domains), True)), calibration=calibration.astype(np.float32))
    report = HeadsReport(
        domains=parts,
        auc=np.stack([_auc(shown[domains == d], mean[domains == d]) for d in parts]),
        auc_of_views=np.stack(
            [[_auc(shown[domains == d], view[domains == d]) for view in unseen] for d in parts]
        ),
        brier=((expit(mean * calibration[0] + calibration[1]) - shown) ** 2).mean(axis=0),
    )
    return heads, report


def _check_faces(
    measured: Measurements, intensities: NDArray, names: tuple[str, ...], domains: NDArray
) -> None:
    n = len(measured.points)
    expected: dict[str, tuple[NDArray, tuple[int, ...]]] = {
        "points": (measured.points, (n, 478, 3)),
        "blendshapes": (measured.blendshapes, (n, 52)),
        "faces": (measured.faces, (n, CROP, CROP)),
        "intensities": (intensities, (n, len(names))),
        "domains": (domains, (n,)),
    }
    for what, (array, shape) in expected.items():
        if array.shape != shape:
            raise ValueError(f"{what} must have shape {shape}; got {array.shape}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{what} holds NaN or infinity; leave out faces that were not found.")
    if len(set(domains)) < 2:
        raise ValueError(
            f"The faces are of the domain {str(domains[0])!r} alone; expected two domains at "
            "least, so that scores can be judged on faces of a domain not trained on."
        )


def mean_shape(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Average faces to a symmetric shape that looks straight ahead.

    Parameters
    ----------
    points : ndarray of shape (n, 478, 3)

    Returns
    -------
    reference : ndarray of float64 of shape (478, 3)
        Centred at 0, of norm 1, its own mirror image.
    mirror : ndarray of int of shape (478,)
        For each landmark, the one on the other side.
    """
    reference = _look_ahead(points[0])
    for _ in range(3):
        reference = _look_ahead(align_points(points, reference).mean(axis=0))
    _, mirror = linear_sum_assignment(cdist(reference * [-1, 1, 1], reference, "sqeuclidean"))
    reference = (reference + reference[mirror] * [-1, 1, 1]) / 2
    return reference / np.linalg.norm(reference), mirror


def _look_ahead(face: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn a face so that the line of the eyes is x, and forehead to chin y."""
    face = face - face.mean(axis=0)
    x = face[_LEFT_EYE] - face[_RIGHT_EYE]
    x /= np.linalg.norm(x)
    y = face[_CHIN] - face[_FOREHEAD]
    y -= (y @ x) * x
    y /= np.linalg.norm(y)
    turned = face @ np.stack([x, y, np.cross(x, y)], axis=1)
    return turned / np.linalg.norm(turned)


def _fit_views(views: Views, intensities: NDArray, shrinkage: Sequence[float]) -> dict[str, Any]:
    """Fit the views, each opinion with mean 0 and deviation 1 here; constants last."""
    weights = {}
    tables: list[NDArray] = [views.landmarks, views.blendshapes, views.appearance]
    for name, view, penalty in zip(views._fields, tables, shrinkage, strict=False):
        alpha = penalty * len(view) * float(view.var(axis=0, dtype=np.float64).sum())
        ridge = Ridge(alpha=alpha).fit(view.astype(np.float64), intensities)
        opinion = ridge.predict(view)
        linear = np.vstack([ridge.coef_.T, ridge.intercept_ - opinion.mean(axis=0)])
        weights[name] = (linear / np.maximum(opinion.std(axis=0), 1e-9)).astype(np.float32)
    spread = views.named.std(axis=0)
    slope = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-6)
    constant = -slope * views.named.mean(axis=0)
    weights["named"] = np.stack([slope, constant]).astype(np.float32)
    return weights


def _fit_logistic(score: NDArray, shown: NDArray[np.bool_]) -> tuple[float, float]:
    model = LogisticRegression(C=1e3).fit(score[:, None], shown)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def _auc(shown: NDArray[np.bool_], scores: NDArray) -> NDArray[np.float64]:
    """Area under the ROC curve per AU; NaN where there are no scores."""
    return np.array(
        [
            np.nan if np.isnan(column).any() else roc_auc_score(truth, column)
            for truth, column in zip(shown.T, scores.T, strict=True)
        ]
    )


def degrade(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Make a picture poor in the ways that pictures of faces are.

    A tighter crop, off the centre, at 40 to 80 pixels, every second one grey,
    saved as JPEG of low quality.

    Parameters
    ----------
    image : ndarray of uint8 of shape (H, W, 3)
    rng : numpy.random.Generator

    Returns
    -------
    image : ndarray of uint8 of shape (size, size, 3)
    """
    side = min(image.shape[:2])
    border = rng.uniform(0.06, 0.15) * side
    x, y = rng.uniform(-0.03, 0.03, 2) * side + [0, 0.03 * side]
    box = (border + x, border + y, side - border + x, side - border + y)
    size = int(rng.integers(40, 81))
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR, box=box)
    if rng.random() < 0.5:
        picture = picture.convert("L").convert("RGB")
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=int(rng.integers(50, 96)))
    return np.asarray(Image.open(stored).convert("RGB"))


def measure_renders(
    files: Sequence[str | Path],
    *,
    au_names: Sequence[str] = HEAD_AUS,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Measurements, NDArray[np.float32], NDArray[np.str_]]:
    """Measure rendered faces, as they are and degraded.

    Parameters
    ----------
    files : sequence of str or path
        Files ``<domain>.npz`` that ``adafer render`` wrote.
    au_names : sequence of str
        AUs to give the intensities of.
    seed : int, default=0
        Of the degradations.
    n_jobs : int, optional
        Processes.
    progress : callable, optional
        Called with a line of text now and then.

    Returns
    -------
    measurements : Measurements
        Of the n pictures, each original and each degraded one, that show a
        face to the landmark network.
    intensities : ndarray of float32 of shape (n, n_aus), values in [0, 1]
        AU26 includes AU27, the same movement further.
    domains : ndarray of str of shape (n,)
        Names of the files; those of one name in several folders are one domain.

    Raises
    ------
    ValueError
        If a file lacks an AU.
    OSError
        If a file cannot be read.
    """
    found: list[Measurements] = []
    intensities, domains = [], []
    for file in files:
        jpegs, truth = _read_file(file, au_names)
        jobs = (
            joblib.delayed(_measure_pairs)(jpegs[low : low + _PART], [seed, low])
            for low in range(0, len(truth), _PART)
        )
        for part in joblib.Parallel(n_jobs=n_jobs, return_as="generator")(jobs):
            found.append(part)
            if progress is not None:
                done = sum(len(piece.presence) for piece in found) // 2
                progress(f"{done} faces measured, now in {file}")
        intensities.append(np.repeat(truth, 2, axis=0))
        domains.append(np.full(2 * len(truth), Path(file).stem))
    measured = Measurements.join(found)
    keep = measured.found
    return (
        measured.rows(keep),
        np.concatenate(intensities)[keep],
        np.concatenate(domains)[keep],
    )


def measure_both(
    combinations: Sequence[str | Path], expressions: Sequence[str | Path], **how: Any
) -> tuple[Measurements, NDArray[np.float32], NDArray[np.str_], NDArray[np.bool_]]:
    """Measure combinations and expressions for `fit_heads`.

    Parameters
    ----------
    combinations, expressions : sequence of str or path
        Files ``<domain>.npz`` that ``adafer render`` wrote, with ``--faces
        combinations`` and without. There may be no expressions.
    **how
        Of `measure_renders`.

    Returns
    -------
    measurements, intensities, domains
        As of `measure_renders`.
    expressions : ndarray of bool of shape (n,)
        Which faces show expressions.

    Raises
    ------
    ValueError, OSError
        As `measure_renders`.
    """
    parts = [measure_renders(files, **how) for files in (combinations, expressions) if files]
    counts = [len(domains) for *_, domains in parts]
    return (
        Measurements.join([measured for measured, *_ in parts]),
        np.concatenate([intensities for _, intensities, _ in parts]),
        np.concatenate([domains for *_, domains in parts]),
        np.repeat([False, True][: len(parts)], counts),
    )


def read_renders(
    file: str | Path, *, au_names: Sequence[str] = HEAD_AUS, seed: int = 0
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Read rendered faces, each as it is and degraded, to train an `AUNetwork`.

    Parameters
    ----------
    file : str or path
        A file ``<domain>.npz`` that ``adafer render`` wrote.
    au_names : sequence of str
        AUs to give the intensities of.
    seed : int, default=0
        Of the degradations, as in `measure_renders`.

    Returns
    -------
    pictures : list of n ndarrays of uint8 of shape (size, size, 3)
        Sizes differ.
    intensities : ndarray of float32 of shape (n, n_aus), values in [0, 1]

    Raises
    ------
    ValueError, OSError
        As `measure_renders`.
    """
    jpegs, truth = _read_file(file, au_names)
    pictures = []
    for low in range(0, len(truth), _PART):
        pictures += _decode_pairs(jpegs[low : low + _PART], [seed, low])
    return pictures, np.repeat(truth, 2, axis=0)


def _read_file(
    file: str | Path, au_names: Sequence[str]
) -> tuple[list[bytes], NDArray[np.float32]]:
    """Give the encoded pictures of a file, and their intensities."""
    with np.load(file, allow_pickle=False) as stored:
        offsets, blob = stored["offsets"], stored["jpeg"].tobytes()
        table, names = stored["au"], [str(name) for name in stored["au_names"]]
    missing = [au for au in au_names if au not in names]
    if missing:
        raise ValueError(f"{str(file)!r} has no {', '.join(missing)}; it has {', '.join(names)}.")
    columns = table[:, [names.index(au) for au in au_names]].copy()
    for au, stronger in _STRONGER.items():
        if au in au_names and stronger in names:
            k = list(au_names).index(au)
            columns[:, k] = np.maximum(columns[:, k], table[:, names.index(stronger)])
    return [blob[low:high] for low, high in pairwise(offsets)], columns


def _decode_pairs(jpegs: Sequence[bytes], seed: list[int]) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    pictures = []
    for jpeg in jpegs:
        image = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        pictures += [image, degrade(image, rng)]
    return pictures


def _measure_pairs(jpegs: Sequence[bytes], seed: list[int]) -> Measurements:
    return LandmarkDetector(heads="blendshape-names").measure(_decode_pairs(jpegs, seed))


def main(argv: Sequence[str] | None = None) -> int:
    """Train heads from the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments, by default those of the process.

    Returns
    -------
    int
        0, or 2 after an error, which is told on the standard error.
    """
    parser = argparse.ArgumentParser(
        prog="python -m adafer.aus.training",
        description="Train AU heads on faces that `adafer render` wrote, and print how they score "
        "faces of domains they were not trained on.",
    )
    parser.add_argument(
        "renders",
        nargs="+",
        metavar="DOMAIN.npz",
        help="of `adafer render --faces combinations`, two domains at least",
    )
    parser.add_argument(
        "--expressions",
        nargs="+",
        default=[],
        metavar="DOMAIN.npz",
        help="of `adafer render`, the same domains",
    )
    parser.add_argument("--output", required=True, metavar="HEADS.safetensors")
    parser.add_argument(
        "--aus", nargs="+", type=parse_au_name, default=HEAD_AUS, metavar="AU", help="AUs to train"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args(argv)
    try:
        tell = (lambda line: print(line, file=sys.stderr)) if sys.stderr.isatty() else None
        check_output_file(options.output)
        measured, intensities, domains, posed = measure_both(
            options.renders,
            options.expressions,
            au_names=options.aus,
            seed=options.seed,
            n_jobs=options.jobs,
            progress=tell,
        )
        heads, report = fit_heads(measured, intensities, options.aus, domains, expressions=posed)
        heads.save(options.output)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_report(heads.au_names, report)
    print(f"wrote {options.output} ({heads.identity})")
    return 0


def print_report(au_names: Sequence[str], report: HeadsReport) -> None:
    """Print a Markdown table of `fit_heads`' report, on the standard output."""
    print(f"AUC on unseen domains (mean of {', '.join(report.domains)})\n")
    print("| AU | heads | landmarks | blendshapes | appearance | names | Brier score |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    mean, views = report.auc.mean(axis=0), report.auc_of_views.mean(axis=0)
    for k, au in enumerate(au_names):
        cells = " | ".join("-" if np.isnan(v) else f"{v:.3f}" for v in (mean[k], *views[:, k]))
        print(f"| {au} | {cells} | {report.brier[k]:.3f} |")
    print(f"| mean | {mean.mean():.3f} | | | | | {report.brier.mean():.3f} |\n")


if __name__ == "__main__":
    raise SystemExit(main())
