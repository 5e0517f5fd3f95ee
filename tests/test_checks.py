"""What is wrong with an argument is told by its name."""

from numbers import Integral

import numpy as np
import pytest

from adafer import AUGuidedAnnotator, SourceOnlyClassifier
from adafer._checks import check_labels, check_rows, naming
from adafer._sklearn import Interval, StrOptions, judged

AU = np.random.default_rng(0).random((12, 4))
Y = np.repeat(["anger", "fear"], 6)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (None, "y"),
        (7, "y should be a 1d array"),
        ([*Y[:-1], None], "y has no label for some samples"),
        ([["a"], ["b", "c"]], "y: "),
        (np.linspace(0.1, 0.9, 12), "y: Unknown label type"),
        (Y[:0], "12 samples but 0 rows of y"),
        (Y[:-1], "12 samples but 11 rows of y"),
    ],
)
def test_wrong_labels_are_told_by_name(y, words):
    with pytest.raises((ValueError, TypeError), match=words):
        AUGuidedAnnotator(engine="numpy").fit(AU, y)


def test_errors_of_the_target_do_not_speak_of_X(feature_problem):
    """scikit-learn calls whatever it judges X."""
    p = feature_problem
    wrong = p["X_tgt"].copy()
    wrong[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"^Input X_tgt contains NaN"):
        SourceOnlyClassifier(epochs=1).fit(p["X"], p["y"], wrong)
    with pytest.raises(ValueError, match=r"^X_tgt: X has 2 features"):
        SourceOnlyClassifier(epochs=1).fit(p["X"], p["y"], p["X_tgt"][:, :2])


def test_names_are_not_said_twice_and_other_errors_pass():
    with pytest.raises(ValueError, match=r"^y is wrong$"), naming("y"):
        raise ValueError("y is wrong")
    with pytest.raises(ValueError, match=r"^y: only wrong$"), naming("y"):
        raise ValueError("only wrong")
    with pytest.raises(UnicodeDecodeError), naming("y"):
        b"\xff".decode()
    with pytest.raises(KeyError), naming("y"):
        raise KeyError("a")


def test_strings_of_numpy_and_of_python_are_one_kind():
    labels = np.array(["a", np.str_("b")], dtype=object)
    assert check_labels(labels).tolist() == ["a", "b"]


def test_lengths():
    check_rows([1, 2], 2, name="a")
    with pytest.raises(ValueError, match="2 samples but 1 rows of a"):
        check_rows([1], 2, name="a")


def test_judged_arguments():
    def even(value):
        if value % 2:
            raise ValueError("must be even")

    @judged(n=[Interval(Integral, 1, None, closed="left")], how=[StrOptions({"a"})], m=even)
    def work(n, *, how="a", m=1):
        return n, how, m

    assert work(2, how="a") == (2, "a", 1)  # a default is not asked about
    with pytest.raises(ValueError, match=r"'n' parameter of .*work"):
        work(0)
    with pytest.raises(ValueError, match=r"'how' parameter of .*work"):
        work(1, how="b")
    with pytest.raises(ValueError, match=r"^m: must be even"):
        work(1, m=3)
    with pytest.raises(TypeError, match="no parameters"):
        judged(no_such=[None])(lambda n: n)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_jobs_are_some_or_all(n_jobs, feature_problem):
    with pytest.raises(ValueError, match="n_jobs"):
        SourceOnlyClassifier(n_jobs=n_jobs).fit(feature_problem["X"], feature_problem["y"])


def test_an_image_size_beyond_all_reason_is_refused_before_room_is_asked_for(feature_problem):
    with pytest.raises(ValueError, match="image_size"):
        SourceOnlyClassifier(image_size=10**9).fit(feature_problem["X"], feature_problem["y"])


def test_an_annotator_of_nothing_cannot_be_merged():
    fitted = AUGuidedAnnotator(engine="numpy", threshold=0.5).fit(AU, Y)
    with pytest.raises(TypeError, match="later must be an AUGuidedAnnotator"):
        fitted.merge(7)
    with pytest.raises(ValueError, match="later is not fitted"):
        fitted.merge(AUGuidedAnnotator())


def test_true_is_no_number_and_is_shown_as_it_is():
    @judged(n=[Interval(Integral, 0, None, closed="left")], yes=["boolean"])
    def work(n, yes=True):
        return n

    assert work(1, yes=False) == 1
    with pytest.raises(ValueError, match=r"'n' parameter of .*Got True instead"):
        work(True)
