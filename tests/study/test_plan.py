from pathlib import Path

import pytest

from adafer.study import make_plan, read_plan
from adafer.study.methods import METHODS, build_estimator, describe_estimator

PAPER = Path(__file__).parents[2] / "examples" / "paper"


def test_a_plan_says_what_is_run(plan_of):
    plan = plan_of(methods=["source_only", {"method": "adafer", "name": "ours"}], seeds=[4, 7])
    assert plan.pairs == (("source", "target"),)
    assert [method.name for method in plan.methods] == ["source_only", "ours"]
    assert plan.seeds == (4, 7)
    assert plan.reference == "source_only"
    assert plan.data["source"].path.endswith("source.npz")


def test_all_names_of_methods_can_be_built():
    assert {type(build_estimator(name, {}, seed=3)).__name__ for name in METHODS} == {
        "SourceOnlyClassifier", "AUQueryClassifier", "AnnotatorClassifier",
        "PseudoLabelClassifier", "AUInputClassifier", "AdaFERClassifier",
    }  # fmt: skip
    assert build_estimator("adafer", {}, seed=3).random_state == 3
    assert build_estimator("pseudo_soft", {}, seed=0).labels == "soft"
    assert build_estimator("au_query_near", {}, seed=0).annotator.matching == "near"


def test_a_grid_becomes_a_row_for_each_point(plan_of):
    row = {"method": "adafer", "name": "A", "grid": {"margin": [0.25, "learnable"], "beta": [1, 2]}}
    plan = plan_of(methods=[row])
    assert [method.name for method in plan.methods] == [
        "A, margin = 0.25, beta = 1",
        "A, margin = 0.25, beta = 2",
        "A, margin = learnable, beta = 1",
        "A, margin = learnable, beta = 2",
    ]
    assert plan.methods[1].parameters["margin"] == 0.25
    assert plan.methods[1].grid == {"margin": 0.25, "beta": 2}
    assert plan.reference is None


def test_base_reaches_those_that_have_the_parameter_and_is_overruled(plan_of):
    row = {"method": "adafer", "parameters": {"epochs": 3, "annotator__matching": "near"}}
    plan = plan_of(methods=["source_only", "au_query", row])
    source_only, query, adafer = (method.parameters for method in plan.methods)
    assert source_only["epochs"] == 1
    assert adafer["epochs"] == 3
    assert "annotator__threshold" not in source_only
    assert query == {}
    estimator = build_estimator("adafer", adafer, seed=0)
    assert (estimator.annotator.matching, estimator.annotator.n_neighbors) == ("near", 10)


def test_embedded_takes_the_place_of_the_rest(plan_of, table):
    embedded = {
        "sources": ["facs_faces:studio"],
        "targets": ["facs_faces:wild"],
        "base": {"epochs": 2},
        "seeds": 1,
    }
    published = [{"method": "adafer", "values": {"target": 80.0}}]
    table = {**table, "embedded": embedded, "published": published}
    plan = make_plan(table, embedded=True)
    assert plan.pairs == (("facs_faces:studio", "facs_faces:wild"),)
    assert plan.seeds == (0,)
    assert plan.published == ()
    assert plan.methods[0].parameters == {"epochs": 2}


def test_a_file_is_read_with_variables_and_relative_paths(tmp_path, features):
    text = """
    sources = ["a"]
    targets = ["b"]
    methods = ["source_only"]
    [data.a]
    reader = "npz"
    path = "{PLACE}/source.npz"
    [data.b]
    reader = "npz"
    path = "features/target.npz"
    """
    (tmp_path / "mine.toml").write_text(text)
    plan = read_plan(tmp_path / "mine.toml", paths={"PLACE": str(features)}, seeds=[5])
    assert plan.name == "mine"
    assert plan.data["a"].path == str(features / "source.npz")
    assert plan.data["b"].path == str(tmp_path / "features/target.npz")
    assert plan.seeds == (5,)
    with pytest.raises(ValueError, match=r"asks for PLACE.*--data PLACE=PATH"):
        read_plan(tmp_path / "mine.toml")
    (tmp_path / "bad.toml").write_text("sources = [")
    with pytest.raises(ValueError, match=r"bad\.toml.*no TOML"):
        read_plan(tmp_path / "bad.toml")
    with pytest.raises(FileNotFoundError, match=r"no plan .*none\.toml"):
        read_plan(tmp_path / "none.toml")


WRONG = {
    "unknown key": ({"sead": 3}, "key 'sead'.*expected.*Did you mean 'seeds'"),
    "unknown method": ({"methods": ["sorce_only"]}, "'sorce_only'.*Did you mean 'source_only'"),
    "key of a method": ({"methods": [{"method": "adafer", "params": {}}]}, "'params'.*parameters"),
    "no method": ({"methods": []}, "no method"),
    "no class": ({"methods": ["nowhere:Nothing"]}, "'nowhere:Nothing' cannot be imported"),
    "unknown parameter": (
        {"methods": [{"method": "adafer", "parameters": {"epocs": 1}}]},
        "'adafer'.*'epocs'",
    ),
    "wrong value": (
        {"methods": [{"method": "adafer", "parameters": {"annotator__matching": "never"}}]},
        "'adafer'.*matching.*'never'",
    ),
    "two of one name": ({"methods": ["adafer", "adafer"]}, "several methods are named 'adafer'"),
    "base for nobody": ({"base": {"colour": 1}}, "'colour'.*no method has"),
    "base no table": ({"base": 3}, "base is 3; expected a table"),
    "reference": ({"reference": "mine"}, "reference is 'mine'; expected one of"),
    "seeds": ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; expected"),
    "protocols": ({"protocols": ["both"]}, r"protocols is \['both'\]; expected some of"),
    "held out": ({"held_out": 2.0}, "held_out is 2.0; expected"),
    "no pair": ({"targets": ["source"]}, "no pair of a source and another"),
    "data not described": ({"targets": ["elsewhere"]}, r"'elsewhere' is not described.*\[data.els"),
    "oracle": (
        {"methods": ["adafer", "target_supervised"], "protocols": ["transductive"]},
        "held-out part only.*Add",
    ),
    "published": ({"published": [{"method": "x"}]}, "expected a method and values"),
    "figure": ({"figures": [{"kind": "pie"}]}, "kind is 'pie'; expected one of"),
    "figure of nobody": (
        {"figures": [{"kind": "ablation", "methods": ["x"]}]},
        "shows 'x'; expected some of",
    ),
    "extractor": ({"au": {"head": "trained"}}, r"\[au\] has the key 'head'.*'heads'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_before_anything_is_run(plan_of, name):
    changes, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        plan_of(**changes)


WRONG_DATA = {
    "no reader": ({"path": "x"}, "no reader"),
    "unknown reader": ({"reader": "zip", "path": "x"}, "reader is 'zip'; expected one of"),
    "no path": ({"reader": "npz"}, "no path"),
    "missing file": ({"reader": "npz", "path": "gone.npz"}, r"gone\.npz' does not exist"),
    "limit": ({"reader": "npz", "path": "target.npz", "limit": 1}, "limit is 1; expected at least"),
    "au": ({"reader": "npz", "path": "target.npz", "au": "some"}, "au is 'some'; expected"),
    "key": ({"reader": "npz", "path": "target.npz", "limits": 9}, "'limits'.*mean 'limit'"),
}


@pytest.mark.parametrize("name", WRONG_DATA)
def test_what_is_wrong_with_a_data_set_is_told(plan_of, table, name):
    entry, message = WRONG_DATA[name]
    with pytest.raises(ValueError, match=message):
        plan_of(data={**table["data"], "target": entry})


def test_a_plan_takes_the_rest_from_what_it_includes(tmp_path, features):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "data.toml").write_text(
        """
        seeds = 5
        sources = ["a"]
        targets = ["b"]
        [base]
        epochs = 3
        weights = "{WEIGHTS}"
        [data.a]
        reader = "npz"
        path = "{PLACE}/source.npz"
        [data.b]
        reader = "npz"
        path = "{PLACE}/target.npz"
        [data.unused]
        reader = "npz"
        path = "{NOWHERE}/x.npz"
        """
    )
    (tmp_path / "plan.toml").write_text(
        """
        include = "common/data.toml"
        methods = ["source_only"]
        pairs = [["b", "a"]]
        [base]
        epochs = 4
        [data.a]
        limit = 9
        """
    )
    plan = read_plan(tmp_path / "plan.toml", paths={"PLACE": str(features), "WEIGHTS": "imagenet"})
    assert plan.pairs == (("b", "a"),)
    assert plan.seeds == (0, 1, 2, 3, 4)
    assert plan.methods[0].parameters == {"epochs": 4, "weights": "imagenet"}
    assert (plan.data["a"].limit, plan.data["a"].path) == (9, str(features / "source.npz"))
    with pytest.raises(ValueError, match=r"\[base\] asks for WEIGHTS"):
        read_plan(tmp_path / "plan.toml", paths={"PLACE": str(features)})


def test_weights_are_known_by_their_content(tmp_path):
    weights = tmp_path / "weights.pth"
    described = []
    for content in (b"a", b"b", b"a"):
        weights.write_bytes(content)
        estimator = build_estimator("source_only", {"weights": str(weights)}, seed=0)
        described.append(describe_estimator(estimator)["parameters"]["weights"])
    assert described[0] == described[2] != described[1]


def test_near_matching_stays_the_default_of_the_fused_recipe():
    nested = {"annotator__n_neighbors": 7}
    for recipe, matching in (("fused", "near"), ("paper", "exact")):
        found = build_estimator("adafer", {"recipe": recipe, **nested}, seed=0)
        assert (found.annotator.matching, found.annotator.n_neighbors) == (matching, 7)
    assert build_estimator("adafer", {"recipe": "fused"}, seed=0).annotator is None


@pytest.mark.parametrize("path", sorted(PAPER.glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_of_the_paper_can_be_read(path, tmp_path):
    plan = read_plan(path, embedded=True)
    assert {entry.reader for entry in plan.data.values()} == {"facs_faces"}
    assert plan.published == ()
    names = ("RAFDB", "CKPLUS", "JAFFE", "EXPW", "FER2013", "FERPLUS")
    paths = {name: str(tmp_path) for name in names} | {"WEIGHTS": "imagenet"}
    plan = read_plan(path, paths=paths)
    targets = {target for _, target in plan.pairs}
    for row in plan.published:
        assert set(row.values) <= targets
    for method in plan.methods:
        build_estimator(method.method, method.parameters, seed=0)


def test_the_plans_of_the_paper_are_there():
    figures = [f"figure{number}" for number in range(3, 9)]
    tables = [f"table{number}" for number in range(1, 6)]
    assert sorted(path.stem for path in PAPER.glob("*.toml")) == figures + tables
