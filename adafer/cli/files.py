"""The commands that have to do with files of models, and with the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .._output import Json, finish, say

__all__ = ["download_weights", "export", "info"]


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `adafer fit` wrote.")],
    output: Annotated[Path, typer.Option(help="File to write.")] = Path("model.onnx"),
    as_json: Json = False,
) -> None:
    """Write a model as one ONNX file.

    Resizing and scaling of pictures are inside. The file is checked against
    the model before it gets its name. Needs pip install "adafer[onnx]".
    """
    from .._files import check_output_file
    from ..onnx_export import export_onnx
    from ..persistence import load_model

    check_output_file(output)
    classifier = load_model(model)
    report = export_onnx(classifier, output)
    say(f"input          {report.input_name}: {report.input_form}")
    say(f"output         probabilities: {', '.join(report.classes)}")
    say(f"checked        {report.n_checked} samples, largest difference {report.difference:.1e}")
    say(f"wrote {output}")
    finish("export", output=output, **report._asdict())


def download_weights(
    backbone: Annotated[
        str, typer.Argument(metavar="BACKBONE", help="A torchvision network, such as resnet18.")
    ],
    as_json: Json = False,
) -> None:
    """Fetch ImageNet weights of a backbone, once."""
    from ..deep.weights import download_imagenet

    path = download_imagenet(backbone)
    say(f"wrote {path}")
    finish("download-weights", output=path)


def info(
    models: Annotated[
        list[Path] | None,
        typer.Argument(metavar="MODEL", help="Folders of saved models to tell of, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show versions, device and models."""
    from importlib.resources import files

    import torch

    from .._versions import versions
    from ..deep.device import resolve_device
    from ..persistence import read_description

    told = {str(path): _summary(read_description(path)) for path in models or []}
    device = resolve_device("auto")
    label = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    folder = files("adafer.aus").joinpath("models").iterdir()
    bundled = sorted(item.name for item in folder if item.name.endswith((".task", ".safetensors")))
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    names = sorted(path.name for path in checkpoints.glob("*.pth"))
    threads = torch.get_num_threads()
    for name, found in versions().items():
        say(f"{name:<16} {found}")
    say(f"{'device':<16} {device} ({label}), {threads} CPU threads")
    say(f"{'face models':<16} {', '.join(bundled) or 'none'}")
    say(f"{'ImageNet weights':<16} {', '.join(names) or 'none'} in {checkpoints}")
    for path, summary in told.items():
        say(f"\n{path}")
        for name, value in summary.items():
            say(f"  {name.replace('_', ' '):<14} {_text(value)}")
    finish(
        "info",
        versions=versions(),
        device=str(device),
        device_name=label,
        threads=threads,
        face_models=bundled,
        imagenet_weights={"folder": checkpoints, "files": names},
        models=told,
    )


def _summary(description: dict[str, Any]) -> dict[str, Any]:
    network, units = description["network"], description["action_units"]
    faces = network["inputs"] == "faces"
    size = network.get("image_size")
    return {
        "class": description["class"],
        "classes": description["classes"]["values"],
        "inputs": f"faces of {size} x {size} pixels" if faces and size else network["inputs"],
        "backbone": network.get("backbone"),
        "action_units": units["names"],
        "coverage": description["results"].get("coverage_"),
        "epochs": description["results"].get("n_iter_"),
        "saved_by": description["versions"],
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {found}" for name, found in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
