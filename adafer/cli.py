"""The command ``adafer``; what is slow to import is imported inside the commands."""

from __future__ import annotations

import sys
import traceback
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import __version__
from ._ranks import is_writer, this_rank
from .study.command import compare, study

__all__ = ["app", "main"]

_USER_ERRORS = (ValueError, OSError, ImportError, ArithmeticError)


class _Commands(TyperGroup):
    """Tells what the library refuses in one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                typer.echo("adafer: interrupted", err=True)
                raise typer.Exit(130) from None
            except BrokenPipeError:
                raise
            except _USER_ERRORS as error:
                if ctx.params.get("debug"):
                    traceback.print_exc(file=sys.stderr)
                text = " ".join(str(error).split()) or type(error).__name__
                rank = this_rank()
                who = "" if rank.count == 1 else f" (process {rank.index + 1} of {rank.count})"
                typer.echo(f"adafer: error{who}: {text}", err=True)
                raise typer.Exit(2) from None


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    if is_writer():
        typer.echo(f"adafer: warning: {' '.join(str(message).split())}", err=True)


app = typer.Typer(
    cls=_Commands,
    name="adafer",
    help="Expression recognition that adapts to your own unlabelled faces by action units.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command with the arguments of the process."""
    app(prog_name="adafer")


class Recipe(str, Enum):
    """Values of ``--recipe``."""

    fused = "fused"
    paper = "paper"


class Matching(str, Enum):
    """Values of ``--matching``."""

    exact = "exact"
    hamming = "hamming"
    near = "near"


class Backoff(str, Enum):
    """Values of ``--backoff``."""

    none = "none"
    hamming = "hamming"
    near = "near"
    prior = "prior"


class OnError(str, Enum):
    """Values of ``--on-error``."""

    fail = "raise"
    skip = "skip"


_OnErrorOption = Annotated[
    OnError, typer.Option(help="Stop at pictures that cannot be read, or leave them out.")
]
_DeviceOption = Annotated[str, typer.Option(help='"auto", "cpu", "cuda", "cuda:1" or "mps".')]
_JobsOption = Annotated[int | None, typer.Option(help="Threads that score AUs; -1: all cores.")]
_DetectorOption = Annotated[
    str,
    typer.Option(help='"landmarks", "py-feat", or the folder of a saved AUNetwork.'),
]
_HeadsOption = Annotated[
    str,
    typer.Option(
        help='How landmarks become AUs: "trained", "blendshape-names", or a file of your own heads.'
    ),
]
_CacheOption = Annotated[
    Path | None,
    typer.Option(help="File that keeps AU scores, without pictures; each is scored once."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adafer {__version__}")
        raise typer.Exit


# what several processes that torchrun started do together
_TOGETHER = ("fit",)


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options before the command."""
    rank, command = this_rank(), context.invoked_subcommand
    if rank.count > 1 and command not in _TOGETHER:
        raise ValueError(
            f"torchrun started {rank.count} processes, but `adafer {command}` works in one. Start "
            "it without torchrun; only `adafer fit` is split."
        )


# -------------------------------------------------------------------- commands


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for result.json and demo.png.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Two runs with one seed are equal.")] = 0,
    source_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs on the source alone.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of adapting.")] = None,
    device: _DeviceOption = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="A few faces, one epoch.")] = False,
) -> None:
    """Adapt studio faces to the wild, from start to end.

    The rendered faces are part of the package. Writes result.json and demo.png.
    """
    from dataclasses import replace

    from .demo import DemoSettings, run_demo

    settings = DemoSettings.quick() if quick else DemoSettings()
    settings = replace(
        settings,
        source_epochs=settings.source_epochs if source_epochs is None else source_epochs,
        epochs=settings.epochs if epochs is None else epochs,
    )
    run_demo(output, seed=seed, settings=settings, device=device, verbose=1)


@app.command()
def fit(
    source: Annotated[Path, typer.Option(help="Labelled faces: a folder per class.")],
    target: Annotated[Path, typer.Option(help="Unlabelled faces; names of folders do not count.")],
    output: Annotated[Path, typer.Option(help="Folder for the model.")],
    image_size: Annotated[int, typer.Option(help="Pixels that the network sees.")] = 64,
    backbone: Annotated[str, typer.Option(help='A torchvision network or "convnet".')] = "resnet18",
    weights: Annotated[
        str | None,
        typer.Option(help='"imagenet" or a file; else the backbone starts at random.'),
    ] = None,
    epochs: Annotated[int, typer.Option(min=0, help="Epochs of adapting.")] = 40,
    source_epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs on the source alone; as --epochs.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, help="Triplets per step.")] = 128,
    learning_rate: Annotated[float, typer.Option(help="Of the optimiser Adam.")] = 1e-3,
    recipe: Annotated[
        Recipe, typer.Option(help="Labels by AUs and network together, or by AUs as in the paper.")
    ] = Recipe.fused,
    matching: Annotated[
        Matching | None,
        typer.Option(
            help="When a target and a source face have the same AUs; by default near, or exact "
            "with --recipe paper."
        ),
    ] = None,
    backoff: Annotated[
        Backoff, typer.Option(help="What labels a target face without a match.")
    ] = Backoff.none,
    schemes: Annotated[
        str,
        typer.Option(help="Labels of --recipe paper: t-soft, s-hard, t-hard, with commas."),
    ] = "t-soft,s-hard",
    au_source: Annotated[
        Path | None, typer.Option(help="AU scores as `adafer aus` writes them.")
    ] = None,
    au_target: Annotated[Path | None, typer.Option(help="The same, of the target.")] = None,
    detector: _DetectorOption = "landmarks",
    heads: _HeadsOption = "trained",
    cache: _CacheOption = None,
    on_error: _OnErrorOption = OnError.fail,
    seed: Annotated[int, typer.Option(min=0, help="Two fits with one seed are equal.")] = 0,
    device: _DeviceOption = "auto",
    jobs: _JobsOption = None,
) -> None:
    """Train on a source, adapt to a target, save a model.

    Under torchrun all processes train one network together.
    """
    from ._folders import au_table, labelled_pictures, nameless_order, unlabelled_pictures
    from .annotation import AUGuidedAnnotator
    from .classifier import AdaFERClassifier
    from .inheritance import SCHEMES
    from .persistence import check_model_path

    # all that can be wrong is found before the long work
    check_model_path(output)
    chosen = tuple(name.strip() for name in schemes.split(",") if name.strip())
    if not chosen or set(chosen) - set(SCHEMES):
        raise ValueError(f"--schemes is {schemes!r}; expected some of {', '.join(SCHEMES)}.")
    if matching is None:
        matching = Matching.near if recipe is Recipe.fused else Matching.exact
    source_paths, labels = labelled_pictures(source)
    target_paths = nameless_order(unlabelled_pictures(target))
    classifier = AdaFERClassifier(
        backbone,
        weights=weights,
        image_size=image_size,
        recipe=recipe.value,
        annotator=AUGuidedAnnotator(
            chosen,
            matching=matching.value,
            backoff=None if backoff is Backoff.none else backoff.value,
        ),
        epochs=epochs,
        source_epochs=source_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        au_extractor=_extractor(detector, heads, cache, jobs),
        on_error=on_error.value,
        device=device,
        random_state=seed,
        verbose=1,
    )
    _try_network(classifier)
    au_src = None if au_source is None else au_table(au_source, source, source_paths)
    au_tgt = None if au_target is None else au_table(au_target, target, target_paths)
    if is_writer():
        typer.echo(
            f"{len(source_paths)} source and {len(target_paths)} target pictures; scoring action "
            "units and training ...",
            err=True,
        )
    classifier.fit(source_paths, labels, target_paths, au_src=au_src, au_tgt=au_tgt)
    classifier.save(output)
    if is_writer():
        _report_fit(classifier, labels, source_paths, output)


def _extractor(detector: str, heads: str, cache: Path | None, jobs: int | None) -> Any:
    """Make the extractor that the options ask for, and fail now if it cannot work."""
    from .aus import AUExtractor, AUNetwork

    found: Any = detector
    if detector not in ("landmarks", "py-feat"):
        if not Path(detector).is_dir():
            raise ValueError(
                f'--detector is {detector!r}; expected "landmarks", "py-feat" or the folder of '
                "a saved AUNetwork."
            )
        found = AUNetwork.load(detector)
    extractor = AUExtractor(found, heads=heads, cache=cache, n_jobs=jobs)
    extractor.score_faces([])
    return extractor


def _try_network(classifier: Any) -> None:
    """Fail now for a device, backbone or weights that training could not use later."""
    from .deep.backbones import build_network
    from .deep.device import resolve_device
    from .deep.weights import load_weights

    classifier._validate_params()
    resolve_device(classifier.device)
    network = build_network(classifier.backbone, 2, image_size=classifier.image_size)
    if classifier.weights is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_weights(network, classifier.weights, classifier.backbone)


def _report_fit(classifier: Any, labels: Any, paths: list[str], output: Path) -> None:
    from collections import Counter

    skipped = {row.index for row in classifier.skipped_["X"]}
    counts = Counter(str(label) for row, label in enumerate(labels) if row not in skipped)
    typer.echo("source faces   " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    annotation = classifier.annotation_
    typer.echo(
        f"target faces   {len(annotation)}, of which {annotation.labelled_share:.1%} got labels\n"
        f"coverage       {classifier.coverage_:.1%} of the target share a source face's AUs"
    )
    for domain, rows in classifier.skipped_.items():
        if rows:
            name = {"X": "source", "X_tgt": "target"}[domain]
            typer.echo(f"unreadable     {len(rows)} of the {name}: {_some(r.path for r in rows)}")
    if classifier.history_:
        last = classifier.history_[-1]
        losses = [
            f"{name.removeprefix('loss_')} {value:.3f}"
            for name, value in last.items()
            if name.startswith("loss")
        ]
        typer.echo("last losses    " + ", ".join(losses))
    typer.echo(f"model          {output}")


def _some(names: Any, limit: int = 3) -> str:
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `adafer fit` wrote.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.")],
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("predictions.csv"),
    on_error: _OnErrorOption = OnError.fail,
    device: _DeviceOption = "auto",
) -> None:
    """Write the expression of each picture in a folder."""
    from collections import Counter

    from ._files import check_output_file
    from ._folders import each_chunk, unlabelled_pictures, write_table
    from .persistence import load_model

    check_output_file(output)
    classifier = load_model(model)
    if hasattr(classifier, "n_features_in_"):
        raise ValueError(
            f"The model {str(model)!r} was fitted on features, not on pictures. Use "
            "AdaFERClassifier.load in Python."
        )
    classifier.set_params(device=device)
    paths = unlabelled_pictures(folder)
    classes = [str(name) for name in classifier.classes_]
    cells: dict[int, list[str]] = {}
    counts: Counter[str] = Counter()
    for rows, images in each_chunk(paths, on_error.value, "predicting"):
        probabilities = classifier.predict_proba(images)
        for row, shares in zip(rows.tolist(), probabilities, strict=True):
            label = classes[shares.argmax()]
            counts[label] += 1
            cells[row] = [label, f"{shares.max():.6f}", *(f"{p:.6f}" for p in shares)]
    header = ["label", "probability", *(f"probability_{name}" for name in classes)]
    if not cells:
        raise ValueError(f"None of the {len(paths)} pictures in {str(folder)!r} can be read.")
    write_table(output, folder, paths, header, cells)
    for name in classes:
        typer.echo(f"{counts[name]:>7} {name}")
    unread = sorted(set(range(len(paths))) - set(cells))
    _report_rows(paths, unread, "could not be read")
    typer.echo(f"wrote {output}")


@app.command()
def aus(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of pictures.")],
    output: Annotated[Path, typer.Option(help="Table to write.")] = Path("aus.csv"),
    detector: _DetectorOption = "landmarks",
    heads: _HeadsOption = "trained",
    cache: _CacheOption = None,
    on_error: _OnErrorOption = OnError.fail,
    jobs: _JobsOption = None,
) -> None:
    """Write the action units of each picture in a folder."""
    import numpy as np

    from ._files import check_output_file
    from ._folders import each_chunk, unlabelled_pictures, write_table

    check_output_file(output)
    extractor = _extractor(detector, heads, cache, jobs)
    paths = unlabelled_pictures(folder)
    cells: dict[int, list[str]] = {}
    no_face: list[int] = []
    for rows, images in each_chunk(paths, on_error.value, "scoring"):
        for row, scores in zip(rows.tolist(), extractor.score_faces(images), strict=True):
            if np.isnan(scores).any():
                no_face.append(row)
            else:
                cells[row] = [f"{score:.6f}" for score in scores]
    if not cells and not no_face:
        raise ValueError(f"None of the {len(paths)} pictures in {str(folder)!r} can be read.")
    write_table(output, folder, paths, list(extractor.detector_.au_names), cells)
    typer.echo(f"{len(cells):>7} of {len(paths)} pictures have action unit scores")
    unread = set(range(len(paths))) - set(cells) - set(no_face)
    _report_rows(paths, no_face, "show no face")
    _report_rows(paths, sorted(unread), "could not be read")
    typer.echo(f"wrote {output}")


def _report_rows(paths: list[str], rows: list[int], what: str) -> None:
    if rows:
        typer.echo(f"{len(rows):>7} {what}: {_some(paths[row] for row in rows)}")


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def render(context: typer.Context) -> None:
    """Render faces with known action units."""
    from .datasets.render.command import main as render_main

    raise typer.Exit(render_main(context.args))


app.command()(study)
app.command()(compare)


@app.command("download-weights")
def download_weights(
    backbone: Annotated[str, typer.Argument(help="A torchvision network, such as resnet18.")],
) -> None:
    """Fetch ImageNet weights of a backbone, once."""
    from .deep.weights import download_imagenet

    typer.echo(f"wrote {download_imagenet(backbone)}")


@app.command()
def info() -> None:
    """Show versions, device and model files."""
    from importlib.resources import files

    import torch

    from ._versions import versions
    from .deep.device import resolve_device

    for name, found in versions().items():
        typer.echo(f"{name:<16} {found}")
    device = resolve_device("auto")
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    typer.echo(f"{'device':<16} {device} ({label}), {torch.get_num_threads()} CPU threads")
    models = files("adafer.aus").joinpath("models").iterdir()
    bundled = sorted(item.name for item in models if item.name.endswith((".task", ".safetensors")))
    typer.echo(f"{'face models':<16} {', '.join(bundled) or 'none'}")
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    names = sorted(path.name for path in checkpoints.glob("*.pth"))
    typer.echo(f"{'ImageNet weights':<16} {', '.join(names) or 'none'} in {checkpoints}")
