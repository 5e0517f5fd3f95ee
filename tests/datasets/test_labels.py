"""Names of expressions and the codes of the data sets."""

import pytest

from adafer.datasets import canonical_label, labels


@pytest.mark.parametrize("name", labels.EXPRESSIONS)
def test_canonical_names_stay_in_any_case(name):
    assert canonical_label(name) == name
    assert canonical_label(f" {name.upper()} ") == name


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("happy", "happiness"), ("Sad", "sadness"), ("ANGRY", "anger"), ("surprised", "surprise"),
        ("fearful", "fear"), ("disgusted", "disgust"), ("0_angry", "anger"),
        ("3 - Happy", "happiness"),
    ],
)  # fmt: skip
def test_synonyms_and_leading_numbers_are_understood(name, label):
    assert canonical_label(name) == label


@pytest.mark.parametrize("name", ["boredom", "3", "3_", ""])
def test_unknown_names_are_errors_or_kept(name):
    with pytest.raises(ValueError, match="no expression known here; expected one of neutral"):
        canonical_label(name)
    assert canonical_label(name, unknown="keep") == name


@pytest.mark.parametrize(
    ("table", "n_expressions"),
    [
        (labels.RAF_DB, 7), (labels.FER2013, 7), (labels.EXPW, 7), (labels.FERPLUS, 8),
        (labels.AFFECTNET, 8), (labels.CK_PLUS, 8), (labels.JAFFE, 7),
    ],
)  # fmt: skip
def test_every_table_names_each_expression_once(table, n_expressions):
    assert sorted(table.values()) == sorted(labels.EXPRESSIONS[:n_expressions])


def test_tables_agree_with_what_the_data_sets_document():
    # surprise, fear, disgust, happiness, sadness, anger, neutral, contempt
    documented = {
        "RAF_DB": [1, 2, 3, 4, 5, 6, 7],
        "FER2013": [5, 2, 1, 3, 4, 0, 6],
        "EXPW": [5, 2, 1, 3, 4, 0, 6],
        "FERPLUS": [2, 6, 5, 1, 3, 4, 0, 7],
        "AFFECTNET": [3, 4, 5, 1, 2, 6, 0, 7],
        "CK_PLUS": [7, 4, 3, 5, 6, 1, 0, 2],
        "JAFFE": ["SU", "FE", "DI", "HA", "SA", "AN", "NE"],
    }
    order = (
        "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral", "contempt",
    )  # fmt: skip
    for name, codes in documented.items():
        assert getattr(labels, name) == dict(zip(codes, order, strict=False)), name


def test_synonyms_lead_to_canonical_names():
    assert set(labels.SYNONYMS.values()) <= set(labels.EXPRESSIONS)
    assert not set(labels.SYNONYMS) & set(labels.EXPRESSIONS)
