"""The model card: what a saved model is, made of and good for, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["make_card"]

_LIMITS = """\
## Limits and responsible use

- The model names the expression that a face shows. Whose face shows it need not feel the emotion
  of that name, and people show the same feeling in different ways.
- It knows the faces it was trained on. On other cameras, ages, skin tones, poses or cultures it
  may fail, and not alike for all groups: measure it on labelled faces of each group it will meet.
- Nothing above was measured on labelled faces of the target. Coverage, estimated trust and losses
  tell how training went, not how many faces are named rightly.
- Faces are personal data, in many places biometric data. Have the consent of the people shown. The
  inference of emotions is unlawful in some places and uses, at work and in schools of the European
  Union among them. Take no decision about a person from its output alone.
"""


def make_card(description: Mapping[str, Any]) -> str:
    """Write the card of a model, without a date, so that the same model has the same card.

    Parameters
    ----------
    description : mapping
        What ``model.json`` holds. Of paths in parameters only the last part is
        shown.

    Returns
    -------
    card : str
        Markdown. It holds counts and settings: no pictures, and none of their names.
    """
    classes = [str(name) for name in description["classes"]["values"]]
    parts = [
        f"# {description['class']}: {len(classes)} facial expressions\n",
        _about(description, classes),
        _data(description, classes),
        _action_units(description),
        _training(description),
        _parameters(description),
        _LIMITS,
    ]
    return "\n".join(part for part in parts if part)


def _about(description: Mapping[str, Any], classes: list[str]) -> str:
    summary = description["results"].get("fit_summary_", {})
    adapted = summary.get("target") is not None
    network, steps = description["network"], description["preprocessing"]
    faces = network["inputs"] == "faces"
    what = "a picture of a face" if faces else f"{network['n_features_in']} features of a face"
    lines = [
        f"Names one of {', '.join(classes)} for {what}. Trained on labelled faces (the source)"
        + (" and adapted to unlabelled ones (the target)." if adapted else "."),
        "",
        "```python",
        "from adafer.persistence import load_model",
        "",
        'classifier = load_model("path of this folder")',
        "classifier.predict(faces)",
        "```",
        "",
        f"Made by {_versions(description['versions'])}. `model.safetensors` holds the numbers, "
        "`model.json` all else; no code is run when they are read.",
        "",
        "## Input",
        "",
    ]
    if faces and network.get("image_size"):
        size = network["image_size"]
        mean, std = (_numbers(steps[name]) for name in ("mean", "std"))
        lines.append(
            f"Crops of faces, RGB, resized to {size} x {size} pixels ({steps['resampling']}), "
            f"divided by 255, less {mean}, by {std}. The network is {network['backbone']!r}."
        )
    else:
        lines += [f"- {_words(name)}: {text}" for name, text in steps.items()]
    return "\n".join(lines) + "\n"


def _data(description: Mapping[str, Any], classes: list[str]) -> str:
    summary = description["results"].get("fit_summary_")
    if summary is None:
        return ""
    source, target = summary["source"], summary["target"]
    rows = list(zip(classes, source["per_class"], strict=True))
    text = "## Data\n\n" + _table(("class", "source samples"), rows)
    text += f"\n{source['n']} source samples in all"
    text += "; no target." if target is None else f", {target['n']} unlabelled target samples."
    left_out = {name: found["n_unreadable"] for name, found in _domains(summary).items()}
    left_out = {name: n for name, n in left_out.items() if n}
    if left_out:
        counts = " and ".join(f"{n} of the {name}" for name, n in left_out.items())
        text += f" Left out because they could not be read: {counts}."
    return text + "\n"


def _domains(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {name: found for name in ("source", "target") if (found := summary.get(name))}


def _action_units(description: Mapping[str, Any]) -> str:
    units, results = description["action_units"], description["results"]
    domains = _domains(results.get("fit_summary_", {}))
    scorers = {name: found["scored_by"] for name, found in domains.items() if found["scored_by"]}
    if not units["used"]:
        return "## Action units\n\nNone were used.\n"
    lines = ["## Action units\n"]
    for name in scorers:
        known = scorers[name] == "given"
        by = "given by the user" if known else f"scored by `{_last_parts(scorers[name])}`"
        lines.append(f"- {name}: {by}")
    if "coverage_" in results:
        lines.append(
            f"- coverage: {results['coverage_']:.1%} of the target share a source face's AUs"
        )
    for name, share in results.get("opinion_accuracies_", {}).items():
        lines.append(
            f"- estimated share of the target that {_OPINIONS.get(name, name)} names rightly: "
            f"{share:.1%} (found without labels)"
        )
    text = "\n".join(lines) + "\n"
    thresholds = units["thresholds"]
    if thresholds is None:
        return text
    names = units["names"] or [f"column {n}" for n in range(len(thresholds))]
    text += "\nAn AU counts as shown above its threshold:\n\n"
    return text + _table(
        ("AU", "threshold"),
        [(name, f"{value:.3f}") for name, value in zip(names, thresholds, strict=True)],
    )


_OPINIONS = {"network": "the network before adapting", "aus": "matching by AUs"}


def _training(description: Mapping[str, Any]) -> str:
    """Show the losses of each stage, first and last epoch."""
    history = description["history"]
    stages = list(dict.fromkeys(row["stage"] for row in history))
    rows = []
    for stage in stages:
        epochs = [row for row in history if row["stage"] == stage]
        first, last = epochs[0], epochs[-1]
        rows += [
            (stage, len(epochs), _words(name), _number(first.get(name)), _number(last[name]))
            for name in last
            if name.startswith("loss")
        ]
    if not rows:
        return ""
    header = ("stage", "epochs", "figure", "first epoch", "last epoch")
    return "## Training\n\n" + _table(header, rows)


def _parameters(description: Mapping[str, Any]) -> str:
    rows = [(f"`{name}`", _shown(value)) for name, value in description["parameters"].items()]
    text = "## Parameters\n\n" + _table(("parameter", "value"), rows)
    left_out = description["parameters_left_out"]
    if left_out:
        text += f"\nNot stored: {', '.join(f'`{name}`' for name in left_out)}.\n"
    return text


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}={_shown(item)}" for key, item in value["parameters"].items())
        return f"{value['class']}({inner})"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value)) or "none"
    return _last_parts(value) if isinstance(value, str) else str(value)


def _last_parts(text: str) -> str:
    """Cut folders off: they may tell the name of a person or a machine."""
    return re.sub(r"[^\s:|,]*[/\\]([^\s/\\:|,]+)", r"\1", text)


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    header = list(header)
    cells = [header, ["---"] * len(header), *rows]
    return "".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |\n" for row in cells
    )


def _versions(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _numbers(values: Iterable[float]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "-"


def _words(name: str) -> str:
    return name.replace("_", " ")
