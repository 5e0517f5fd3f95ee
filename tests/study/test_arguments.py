"""Every error of the functions of studies says which argument is wrong."""

import pytest

from adafer.study import make_plan, read_plan, run_studies, write_reports

TABLE = {
    "sources": ["facs_faces:studio"],
    "targets": ["facs_faces:wild"],
    "methods": ["source_only"],
}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"table": 7}, "'table' parameter of make_plan"),
        ({"name": "../up"}, r"name must be one of files, without folders; got '\.\./up'"),
        ({"paths": ["a"]}, "paths must be {'NAME': path"),
        ({"folder": 7.5}, "'folder' parameter"),
        ({"embedded": "yes"}, "'embedded' parameter"),
        ({"base": {"no_such": 1}}, "^base has 'no_such', a parameter that no method has"),
    ],
)
def test_what_cannot_make_a_plan_is_named(wrong, words):
    make_plan(TABLE)
    with pytest.raises((ValueError, TypeError), match=words):
        make_plan(**{"table": TABLE, **wrong})


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"methods": [7]}, "a method is 7; expected a table"),
        ({"data": {"facs_faces:studio": 7}}, r"\[data.facs_faces:studio\] is 7; expected a table"),
        ({"figures": 7}, "figures is 7; expected a list"),
        ({"figures": [7]}, r"\[\[figures\]\] is 7; expected a table"),
        ({"published": [7]}, r"\[\[published\]\] is 7; expected a table"),
        (
            {"methods": [{"method": "adafer", "grid": {"epsilon": 0}}]},
            "grid of the method 'adafer' has epsilon = 0; expected a list",
        ),
        (
            {"methods": [{"method": "adafer", "parameters": 7}]},
            "parameters of the method 'adafer' is 7; expected a table",
        ),
        ({"methods": [{"method": "adafer", "name": 7}]}, "name is 7; expected a text"),
    ],
)
def test_entries_of_another_kind_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        make_plan({**TABLE, **wrong})


def test_what_cannot_be_read_as_a_plan_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"path must be .*got float"):
        read_plan(7.5)
    for empty in ("", "a\0b"):
        with pytest.raises(ValueError, match="path must name a file"):
            read_plan(empty)
    with pytest.raises(OSError, match=f"{tmp_path.name}.* cannot be read: Is a directory"):
        read_plan(tmp_path)
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'sources = ["facs_faces:studio"]\ntargets = ["facs_faces:wild"]\n'
        'methods = ["source_only"]\nembedded = 7\n',
        encoding="utf-8",
    )
    with pytest.raises(TypeError, match=r"seeds: .*not iterable"):
        read_plan(plan, seeds=7)
    with pytest.raises(ValueError, match=r"\[embedded\] is 7; expected a table"):
        read_plan(plan, seeds=[0], embedded=True)


def test_what_cannot_be_run_or_reported_is_named(tmp_path):
    plan = make_plan(TABLE)
    refused = [
        (run_studies, {"plans": []}, "plans is empty"),
        (run_studies, {"plans": plan}, "plans must be a list of StudyPlan"),
        (run_studies, {"plans": ["plan.toml"]}, r"plans must be .*got .*plan\.toml"),
        (run_studies, {"plans": [plan], "output": 7.5}, "output: .*got float"),
        (run_studies, {"plans": [plan], "jobs": 0}, "'jobs' parameter"),
        (run_studies, {"plans": [plan], "threads": 0}, "'threads' parameter"),
        (run_studies, {"plans": [plan], "report": 7}, "'report' parameter"),
        (write_reports, {"studies": []}, "studies is empty"),
        (write_reports, {"studies": [7]}, "studies must be a list of Study"),
    ]
    for function, wrong, words in refused:
        with pytest.raises((ValueError, TypeError), match=words):
            function(**{"output": tmp_path / "out", **wrong})
    assert not (tmp_path / "out").exists()
