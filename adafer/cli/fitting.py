"""The commands that train: ``adafer demo`` and ``adafer fit``."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from .._output import Json, finish, say, tell, wants_json
from .options import (
    Backoff,
    CacheOption,
    DetectorOption,
    DeviceOption,
    HeadsOption,
    JobsOption,
    Matching,
    OnError,
    OnErrorOption,
    Recipe,
    Resume,
    make_extractor,
    some,
)

__all__ = ["demo", "fit"]


def demo(
    output: Annotated[Path, typer.Option(help="Folder for result.json and demo.png.")] = Path(
        "demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Two runs with one seed are equal.")] = 0,
    source_epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs on the source alone.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of adapting.")] = None,
    device: DeviceOption = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="A few faces, one epoch.")] = False,
    as_json: Json = False,
) -> None:
    """Adapt studio faces to the wild, from start to end.

    The rendered faces are part of the package. Writes result.json and demo.png.
    """
    from dataclasses import replace

    from ..demo import DemoSettings, run_demo

    settings = DemoSettings.quick() if quick else DemoSettings()
    settings = replace(
        settings,
        source_epochs=settings.source_epochs if source_epochs is None else source_epochs,
        epochs=settings.epochs if epochs is None else epochs,
    )
    with contextlib.redirect_stdout(sys.stderr if wants_json() else sys.stdout):
        result = run_demo(output, seed=seed, settings=settings, device=device, verbose=1)
    finish("demo", output=output, result=result)


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
    detector: DetectorOption = "landmarks",
    heads: HeadsOption = "trained",
    cache: CacheOption = None,
    checkpoint_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the state after each epoch; the same command goes on from there."
        ),
    ] = None,
    resume: Annotated[
        Resume, typer.Option(help="Go on from --checkpoint-dir if it can, or start anew.")
    ] = Resume.auto,
    on_error: OnErrorOption = OnError.fail,
    seed: Annotated[int, typer.Option(min=0, help="Two fits with one seed are equal.")] = 0,
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    as_json: Json = False,
) -> None:
    """Train on a source, adapt to a target, save a model.

    For example: adafer fit --source labelled --target camera --output model

    Nothing is written until the model is complete, but for the AU scores in
    --cache and what --checkpoint-dir keeps, which an interrupted run leaves for
    the next one. Under torchrun all
    processes train one network together.
    """
    from .._folders import au_table, labelled_pictures, nameless_order, unlabelled_pictures
    from ..annotation import AUGuidedAnnotator
    from ..classifier import AdaFERClassifier
    from ..inheritance import SCHEMES
    from ..persistence import check_model_path

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
        au_extractor=make_extractor(detector, heads, cache, jobs),
        checkpoint_dir=checkpoint_dir,
        resume=resume.value,
        on_error=on_error.value,
        n_jobs=jobs,
        device=device,
        random_state=seed,
        verbose=1,
    )
    au_src = None if au_source is None else au_table(au_source, source, source_paths)
    au_tgt = None if au_target is None else au_table(au_target, target, target_paths)
    tell(
        f"{len(source_paths)} source and {len(target_paths)} target pictures; scoring action "
        "units and training ..."
    )
    classifier.fit(source_paths, labels, target_paths, au_src=au_src, au_tgt=au_tgt)
    classifier.save(output)
    _report_fit(classifier, labels, source_paths, output)


def _report_fit(classifier: Any, labels: Any, paths: list[str], output: Path) -> None:
    skipped = {row.index for row in classifier.skipped_["X"]}
    counts = Counter(str(label) for row, label in enumerate(labels) if row not in skipped)
    say("source faces   " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))
    annotation = classifier.annotation_
    say(
        f"target faces   {len(annotation)}, of which {annotation.labelled_share:.1%} got labels\n"
        f"coverage       {classifier.coverage_:.1%} of the target share a source face's AUs"
    )
    unreadable = {
        {"X": "source", "X_tgt": "target"}[domain]: [row.path for row in rows]
        for domain, rows in classifier.skipped_.items()
    }
    for name, missing in unreadable.items():
        if missing:
            say(f"unreadable     {len(missing)} of the {name}: {some(missing)}")
    last = classifier.history_[-1] if classifier.history_ else {}
    losses = {
        name.removeprefix("loss_"): value for name, value in last.items() if name.startswith("loss")
    }
    if losses:
        say("last losses    " + ", ".join(f"{name} {value:.3f}" for name, value in losses.items()))
    say(f"model          {output}")
    finish(
        "fit",
        model=output,
        source_faces=dict(sorted(counts.items())),
        target_faces=len(annotation),
        labelled_share=annotation.labelled_share,
        coverage=classifier.coverage_,
        unreadable=unreadable,
        last_losses=losses,
        epochs=classifier.n_iter_,
    )
