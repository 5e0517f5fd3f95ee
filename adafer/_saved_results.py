"""Entries of a saved model's description that later code relies on: judged when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._saved_network import AGAIN, DESCRIPTION

__all__ = ["check_description"]

_MAX_TEXT = 4096


def check_description(found: Mapping[str, Any]) -> None:
    """Judge all entries but classes, parameters and tensors, which are judged where they are used.

    Parameters
    ----------
    found : dict
        What ``model.json`` holds; of an earlier version it may lack results.

    Raises
    ------
    ValueError
        If an entry has another form than `save_model` gives it; it names the
        entry, what it is, and what was expected.
    KeyError
        If an entry is missing.
    """
    for name in ("classes", "network", "parameters", "action_units", "results", "versions"):
        _expect(isinstance(found[name], dict), name, found[name], "an object")
    for name, version in found["versions"].items():
        _expect(_is_text(version, 100), f"versions[{name!r}]", version, "a text")
    _expect(_is_text(found["sha256"], 64), "sha256", found["sha256"], "64 hexadecimal digits")
    _check_network(found["network"])
    n_aus = _check_units(found["action_units"])
    n_classes = len(found["classes"]["values"])
    _check_results(found["results"], n_classes, n_aus)
    history = found["history"]
    _expect(isinstance(history, list), "history", history, "a list of objects")
    for i, row in enumerate(history):
        _expect(
            isinstance(row, dict) and all(_is_entry(value) for value in row.values()),
            f"history[{i}]", row, "an object of numbers and texts",
        )  # fmt: skip


def _expect(right: bool, where: str, value: Any, words: str) -> None:
    if not right:
        raise ValueError(f"{DESCRIPTION} has {where}: {value!r:.80}; expected {words}. {AGAIN}")


def _is_text(value: Any, longest: int = _MAX_TEXT) -> bool:
    return isinstance(value, str) and len(value) <= longest


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_entry(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_entry(item) for item in value)
    return value is None or isinstance(value, (bool, int, float)) or _is_text(value)


def _is_list(value: Any, judge: Any, length: int | None = None) -> bool:
    right = isinstance(value, list) and all(judge(item) for item in value)
    return right and (length is None or len(value) == length)


def _check_network(network: Mapping[str, Any]) -> None:
    inputs, names = network["inputs"], network["feature_names_in"]
    _expect(inputs in ("faces", "features"), "network.inputs", inputs, "'faces' or 'features'")
    n_features = network["n_features_in"]
    if inputs == "faces":
        _expect(n_features is None, "network.n_features_in", n_features, "null for faces")
    else:
        _expect(
            _is_count(n_features) and n_features > 0,
            "network.n_features_in", n_features, "a number of features",
        )  # fmt: skip
    _expect(
        names is None or _is_list(names, _is_text, n_features),
        "network.feature_names_in", names, "null or a name per feature",
    )  # fmt: skip
    for name, judge, words in (
        ("backbone", _is_text, "the name of a network"),
        ("image_size", _is_count, "a number of pixels"),
        ("n_aus", _is_count, "a number of AUs"),
        ("channels_last", lambda value: isinstance(value, bool), "true or false"),
    ):
        value = network.get(name)
        _expect(value is None or judge(value), f"network.{name}", value, words)


def _check_units(units: Mapping[str, Any]) -> int | None:
    """Judge names and thresholds of AUs, and give their number."""
    names, thresholds, used = units["names"], units["thresholds"], units.get("used", True)
    _expect(isinstance(used, bool), "action_units.used", used, "true or false")
    _expect(
        names is None or _is_list(names, _is_text), "action_units.names", names, "a list of names"
    )
    n_aus = None if names is None else len(names)
    _expect(
        thresholds is None or _is_list(thresholds, _is_number, n_aus),
        "action_units.thresholds", thresholds, "null or a number per AU",
    )  # fmt: skip
    return len(thresholds) if thresholds is not None else n_aus


def _check_results(results: Mapping[str, Any], n_classes: int, n_aus: int | None) -> None:
    for name, judge, words in (
        ("coverage_", _is_share, "a share in [0, 1]"),
        ("margin_", _is_number, "a number"),
        ("n_iter_", _is_count, "a number of epochs"),
        ("n_skipped_anchors_", _is_count, "a number of faces"),
        (
            "opinion_accuracies_",
            lambda value: isinstance(value, dict) and all(map(_is_share, value.values())),
            "shares in [0, 1] by name",
        ),
    ):
        if name in results:
            _expect(judge(results[name]), f"results.{name}", results[name], words)
    if "fit_summary_" in results:
        _check_summary(results["fit_summary_"], n_classes, n_aus)


def _check_summary(summary: Any, n_classes: int, n_aus: int | None) -> None:
    where = "results.fit_summary_"
    _expect(isinstance(summary, dict), where, summary, "an object")
    for name in ("source", "target", "matches"):
        part = summary[name]
        right = isinstance(part, dict) or (part is None and name != "source")
        _expect(right, f"{where}.{name}", part, "an object")
    for name in ("source", "target"):
        if summary[name] is not None:
            _check_domain(summary[name], f"{where}.{name}", n_classes, n_aus)
    matches = summary["matches"]
    if matches is None:
        return
    bins, faces, ways = matches["bins"], matches["faces"], matches["matched_by"]
    _expect(_is_list(bins, _is_text), f"{where}.matches.bins", bins, "a list of texts")
    _expect(
        _is_list(faces, _is_count, len(bins)),
        f"{where}.matches.faces", faces, "a number of faces per bin",
    )  # fmt: skip
    _expect(
        isinstance(ways, dict) and all(map(_is_count, ways.values())),
        f"{where}.matches.matched_by", ways, "numbers of faces by name",
    )  # fmt: skip


def _check_domain(domain: Mapping[str, Any], where: str, n_classes: int, n_aus: int | None) -> None:
    for name in ("n", "n_unreadable"):
        _expect(_is_count(domain[name]), f"{where}.{name}", domain[name], "a number of faces")
    for name in ("n_without_face", "n_unlabelled"):
        value = domain.get(name)
        _expect(value is None or _is_count(value), f"{where}.{name}", value, "null or a number")
    scorer, counts = domain["scored_by"], domain["per_class"]
    _expect(scorer is None or _is_text(scorer), f"{where}.scored_by", scorer, "null or a text")
    _expect(
        counts is None or _is_list(counts, _is_count, n_classes),
        f"{where}.per_class", counts, "null or a number of faces per class",
    )  # fmt: skip
    means = domain.get("mean_labels")
    _expect(
        means is None or _is_list(means, _is_number, n_classes),
        f"{where}.mean_labels", means, "null or a share per class",
    )  # fmt: skip
    shares = domain["au_frequencies"]
    _expect(
        shares is None
        or _is_list(
            shares,
            lambda row: _is_list(row, lambda share: share is None or _is_share(share), n_aus),
            n_classes,
        ),
        f"{where}.au_frequencies", shares, "null or a share per class and AU",
    )  # fmt: skip
