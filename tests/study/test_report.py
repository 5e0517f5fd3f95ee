import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from adafer.study import write_reports
from adafer.study.blocks import Heading, Paragraph, Picture, Table, to_html, to_markdown
from adafer.study.results import MEAN, Results
from adafer.study.statistics import paired_difference, summarise

EVIL = "<script>alert('x')</script> & <b>|bold|</b>"


class Page(HTMLParser):
    """Collects tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def write(run, tmp_path, lines):
    def write_plan(plan):
        study = run(plan)
        write_reports([study], tmp_path / "results", tell=lines.append)
        return study, tmp_path / "results"

    return write_plan


def test_names_cannot_become_markup(plan_of, write):
    published = [{"method": EVIL + "2", "values": {"target": 81.4}}]
    plan = plan_of(
        title=EVIL,
        description=EVIL,
        methods=["source_only", {"method": "pseudo_hard", "name": EVIL}],
        seeds=1,
        published=published,
    )
    _, folder = write(plan)
    page = Page((folder / "study.html").read_text())
    assert {"script", "b"}.isdisjoint(page.tags)
    assert page.words.count(EVIL) > 4
    # nothing is fetched from elsewhere
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert links
    assert all(value.startswith("data:image/png;base64,") for value in links)
    text = (folder / "study.md").read_text()
    assert "<script" not in text
    rows = [line for line in text.splitlines() if "alert" in line and line.startswith("|")]
    assert rows
    for line in rows:
        assert re.search(r"(?<!\\)\|bold", line) is None


def test_hostile_names_of_classes_are_drawn_and_written_as_text(
    plan_of, write, lines, feature_problem, tmp_path
):
    evil = {"anger": "<b>&|*", "fear": r"$\bad{$", "joy": "a$_$b"}
    place, units = tmp_path / "evil", ["AU01", "$AU{$", "AU04", "<b>"]
    place.mkdir()
    for name, part, au in (("source", "", "au_src"), ("target", "_tgt", "au_tgt")):
        p = feature_problem
        labels = [evil[label] for label in p["y" + part]]
        np.savez(place / f"{name}.npz", X=p["X" + part], labels=labels, au=p[au], au_names=units)
    kinds = ("confusion", "features", "au_distribution", "coverage")
    row = {"method": "adafer", "name": r"$\worse{$"}
    figures = [{"kind": kind} for kind in kinds]
    _, folder = write(plan_of(folder=place, methods=["source_only", row], seeds=1, figures=figures))
    assert not [line for line in lines if "drawn" in line], lines
    page = Page((folder / "study.html").read_text())
    assert {"script", "b"}.isdisjoint(page.tags)
    assert len(list(folder.glob("*.png"))) == len(kinds)


def test_blocks_are_written_in_both_forms():
    blocks = [
        Heading("A", 1),
        Paragraph("b\nc"),
        Table(["x"], [["1"]]),
        Picture("p.png", "P", b"1"),
    ]
    assert to_markdown(blocks) == "# A\n\nb c\n\n| x |\n| --- |\n| 1 |\n\n![P](<p.png>)\n"
    page = to_html("T", blocks)
    for part in ("<h1>A</h1>", "<td>1</td>", 'base64,MQ=="', "<title>T</title>"):
        assert part in page


def test_the_csv_has_a_row_per_cell_and_metric(plan_of, write):
    study, folder = write(plan_of(methods=["source_only", "au_query"], protocols=["inductive"]))
    rows = read_csv(folder / "study.csv")
    for row in study.rows:
        mine = [r for r in rows if (r["method"], r["seed"]) == (row.method, str(row.seed))]
        found = {(r["protocol"], r["metric"], r["class"]): float(r["value"]) for r in mine}
        expected = {}
        for protocol, scores in row.scores.items():
            for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
                expected[protocol, metric, ""] = scores[metric]
            for name, value in scores["recall"].items():
                expected[protocol, "recall", name] = value
        assert found == pytest.approx(expected, abs=1e-6)
        assert {r["cell"] for r in mine} == {row.key}


def test_the_summary_holds_means_intervals_and_paired_differences(plan_of, write):
    study, folder = write(plan_of(methods=["source_only", "pseudo_hard"], seeds=3))
    values = {
        method: {row.seed: row.scores["inductive"]["macro_f1"] for row in study.rows
                 if row.method == method}
        for method in ("source_only", "pseudo_hard")
    }  # fmt: skip
    (row,) = [
        r
        for r in read_csv(folder / "study-summary.csv")
        if (r["method"], r["protocol"], r["metric"]) == ("pseudo_hard", "inductive", "macro_f1")
    ]
    mean, half_width, n = summarise(list(values["pseudo_hard"].values()))
    gain = paired_difference(values["pseudo_hard"], values["source_only"])
    assert int(row["n_seeds"]) == n == 3
    assert float(row["mean"]) == pytest.approx(mean, abs=1e-6)
    assert float(row["half_width_95"]) == pytest.approx(half_width, abs=1e-6)
    assert float(row["difference"]) == pytest.approx(gain.mean, abs=1e-6)
    assert float(row["difference_half_width_95"]) == pytest.approx(gain.half_width, abs=1e-6)
    text = (folder / "study.md").read_text()
    shown = f"{100 * mean:.1f} ± {100 * half_width:.1f} ({100 * gain.mean:+.1f} ± "
    table = text.split("## Macro F1, inductive, %")[1].split("##")[0]
    assert f"| pseudo_hard | {shown}" in table


def test_published_figures_stand_beside_ours(plan_of, write):
    published = [
        {"method": "source_only", "values": {"target": 70.54}, "protocol": "inductive"},
        {"method": "elsewhere", "values": {"target": 64.19}, "protocol": "inductive"},
    ]
    _, folder = write(plan_of(methods=["source_only"], seeds=1, published=published))
    parts = (folder / "study.md").read_text().split("## ")
    (ours,) = [part for part in parts if part.startswith("Accuracy, inductive")]
    assert "| method | target | published |" in ours
    assert re.search(r"\| source_only \| [\d.]+ \| 70.54 \|", ours)
    assert "| elsewhere | - | 64.19 |" in ours
    (other,) = [part for part in parts if part.startswith("Accuracy, transductive")]
    assert "published" not in other


def test_the_mean_over_pairs_is_taken_seed_by_seed(plan_of, run, table):
    data = {**table["data"], "third": {"reader": "npz", "path": "target.npz", "limit": 60}}
    plan = plan_of(methods=["source_only"], targets=["target", "third"], data=data)
    results = Results(run(plan))
    pairs = results.pairs("inductive")
    assert pairs == [("source", "target"), ("source", "third")]
    each = [results.values(pair, "source_only", "inductive", "accuracy") for pair in pairs]
    together = results.values(MEAN, "source_only", "inductive", "accuracy")
    assert together == {seed: (each[0][seed] + each[1][seed]) / 2 for seed in (0, 1)}


def test_the_oracle_is_marked_and_the_gap_is_reported(plan_of, write):
    plan = plan_of(methods=["source_only", "adafer", "target_supervised"])
    study, folder = write(plan)
    text = (folder / "study.md").read_text()
    assert "target_supervised (oracle: trained on target labels)" in text
    means = {
        method: np.mean([row.scores["inductive"]["accuracy"] for row in study.rows
                         if row.method == method])
        for method in ("source_only", "adafer", "target_supervised")
    }  # fmt: skip
    share = (means["adafer"] - means["source_only"]) / (
        means["target_supervised"] - means["source_only"]
    )
    table = text.split("Share of the gap to the oracle")[1].split("##")[0]
    assert f"| adafer | {100 * share:.0f} |" in table


def test_without_target_labels_the_report_tells_what_methods_say(
    plan_of, write, features, feature_problem
):
    np.savez(features / "target.npz", X=feature_problem["X_tgt"], au=feature_problem["au_tgt"])
    plan = plan_of(methods=["source_only", "adafer"], protocols=["transductive"], seeds=1)
    study, folder = write(plan)
    text = (folder / "study.md").read_text()
    assert "Accuracy" not in text
    first, second = (row.result["predictions"]["transductive"] for row in study.rows)
    alike = 100 * np.mean(np.array(first) == np.array(second))
    table = text.split("## Faces that two methods label alike")[1].split("##")[0]
    assert f"| source_only | 100.0 | {alike:.1f} |" in table
    shares = " | ".join(f"{100 * share:.1f}" for share in np.bincount(second, minlength=3) / 120)
    table = text.split("## Labels given")[1].split("##")[0]
    assert f"| adafer | {shares} |" in table
    assert "coverage" in text


def test_failed_cells_are_listed(plan_of, write):
    fails = {"method": "sklearn.neighbors:KNeighborsClassifier", "name": "too many",
             "parameters": {"n_neighbors": 1000}}  # fmt: skip
    _, folder = write(plan_of(methods=["source_only", fails], base={"epochs": 1}, seeds=1))
    table = (folder / "study.md").read_text().split("## Cells that failed")[1].split("##")[0]
    assert "| source | target | too many | 0 | ValueError: Expected n_neighbors" in table


def test_classes_that_the_source_lacks_are_told(write_features, plan_of, write, tmp_path):
    strange = np.array(["joy"] * 100 + ["awe"] * 20)
    folder = write_features(tmp_path / "strange", strange)
    plan = plan_of(methods=["source_only"], seeds=1, protocols=["transductive"], folder=folder)
    _, output = write(plan)
    assert (
        "20 of 120 transductive faces of target are of classes that source lacks (awe)"
        in (output / "study.md").read_text()
    )


def test_figures_of_all_kinds_are_drawn(plan_of, write, lines):
    figures = [
        {"kind": "ablation", "metric": "macro_f1"},
        {"kind": "curve", "parameter": "margin"},
        {"kind": "confusion", "methods": ["source_only"]},
        {"kind": "features", "methods": ["source_only"]},
        {"kind": "coverage"},
    ]
    row = {"method": "adafer", "grid": {"margin": [0.25, 0.5, "learnable"]}}
    _, folder = write(plan_of(methods=["source_only", row], figures=figures))
    drawn = sorted(path.name for path in folder.glob("*.png"))
    assert drawn == [
        "study-1-ablation.png", "study-2-curve.png", "study-3-confusion.png",
        "study-4-features.png", "study-5-coverage.png",
    ]  # fmt: skip
    assert not [line for line in lines if "cannot be drawn" in line]
    assert (folder / "study.html").read_text().count("data:image/png") == 5


def test_a_figure_that_fails_does_not_cost_the_tables(plan_of, write, lines, monkeypatch):
    from adafer.study import figures

    def broken(*arguments):
        raise RuntimeError("no ink")

    monkeypatch.setitem(figures.DRAWING, "ablation", broken)
    _, folder = write(plan_of(methods=["source_only"], seeds=1))
    assert "## Accuracy, inductive" in (folder / "study.md").read_text()
    assert any("cannot be drawn: no ink" in line for line in lines)


def test_faces_with_their_labels_and_au_distributions_are_drawn(
    run, plan_of, table, features, face_problem, tmp_path, lines
):
    names = {"source": ("X", "y", "au_src"), "target": ("X_tgt", "y_tgt", "au_tgt")}
    for name, (X, y, au) in names.items():
        arrays = {"images": face_problem[X], "labels": face_problem[y], "au": face_problem[au]}
        np.savez(features / f"{name}.npz", **arrays, au_names=["AU04", "AU12", "AU25"])
    data = {name: {**entry, "au": "given"} for name, entry in table["data"].items()}
    base = {**table["base"], "backbone": "convnet", "image_size": 16}
    figures = [{"kind": "pseudo_labels"}, {"kind": "au_distribution", "labels": ["joy"]}]
    methods = ["pseudo_hard", "adafer"]
    plan = plan_of(data=data, base=base, figures=figures, methods=methods, seeds=1)
    study = run(plan)
    write_reports([study], tmp_path / "results", tell=lines.append)
    assert sorted(path.name[6:] for path in (tmp_path / "results").glob("*.png")) == [
        "1-pseudo_labels.png", "2-pseudo_labels.png", "3-au_distribution.png",
    ]  # fmt: skip
    assert "pseudo_labels: source to target, adafer" in (tmp_path / "results/study.md").read_text()
