import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone

import adafer
from adafer import AdaFERClassifier, AUGuidedAnnotator, as_target
from adafer.faces import FaceReadError


def small(**options):
    settings = {
        "recipe": "paper",
        "annotator": AUGuidedAnnotator(threshold=0.5),
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 0.01,
        "random_state": 0,
        "device": "cpu",
    }
    return AdaFERClassifier(**(settings | options))


def tiny_faces(**options):
    return small(**({"backbone": "convnet", "image_size": 24, "epochs": 2} | options))


def domains(problem, *names):
    return {name: problem[name] for name in names or ("X_tgt", "au_src", "au_tgt")}


def test_adapting_beats_source_only_under_a_shift(feature_problem):
    p = feature_problem
    for seed in range(3):
        source_only = small(epochs=8, random_state=seed).fit(p["X"], p["y"])
        adapted = small(epochs=8, random_state=seed).fit(p["X"], p["y"], **domains(p))
        before = source_only.score(p["X_tgt"], p["y_tgt"])
        assert adapted.score(p["X_tgt"], p["y_tgt"]) > before + 0.05
        assert source_only.score(p["X"], p["y"]) > 0.9


def test_target_may_be_positional_and_wrapped(feature_problem):
    p = feature_problem
    scores = domains(p, "au_src", "au_tgt")
    first = small().fit(p["X"], p["y"], p["X_tgt"], **scores)
    wrapped = small().fit(
        p["X"],
        p["y"],
        as_target(p["X_tgt"]),
        au_src=p["au_src"],
        au_tgt=as_target(p["au_tgt"]),
    )
    np.testing.assert_array_equal(
        first.predict_proba(p["X_tgt"]), wrapped.predict_proba(p["X_tgt"])
    )


def test_fitted_attributes_tell_what_happened(feature_problem):
    p = feature_problem
    clf = small().fit(p["X"], p["y"], **domains(p))
    assert clf.classes_.tolist() == ["anger", "fear", "joy"]
    assert clf.target_labels_.shape == (120, 3)
    assert clf.coverage_ == clf.annotation_.coverage > 0.5
    assert clf.margin_ == 0.5
    assert clf.n_iter_ == len(clf.history_) == 8
    assert [row["stage"] for row in clf.history_] == ["source"] * 4 + ["joint"] * 4
    joint = clf.history_[-1]
    for name in ("loss", "loss_source", "loss_t-soft", "loss_s-hard", "loss_triplet"):
        assert np.isfinite(joint[name])
    assert joint["coverage"] == clf.coverage_
    assert joint["images_per_second"] > 0
    assert clf.history_[3]["learning_rate"] == pytest.approx(0.01 * 0.9**3)
    assert clf.transform(p["X_tgt"]).shape == (120, 64)
    np.testing.assert_allclose(np.linalg.norm(clf.transform(p["X"]), axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(clf.predict_proba(p["X"]).sum(axis=1), 1)


def test_without_target_only_the_source_stage_runs(feature_problem):
    p = feature_problem
    clf = small().fit(p["X"], p["y"])
    assert {row["stage"] for row in clf.history_} == {"source"}
    assert not hasattr(clf, "annotator_")


@pytest.mark.parametrize(
    "options",
    [
        {"annotator": AUGuidedAnnotator(("t-hard",), threshold=0.5)},
        {"annotator": AUGuidedAnnotator(("s-hard",), conflict="last", threshold=0.5)},
        {"annotator": AUGuidedAnnotator(("s-hard", "t-hard", "t-soft"), conflict="all")},
        {"annotator": AUGuidedAnnotator(matching="near", n_neighbors=20)},
        {"annotator": AUGuidedAnnotator(backoff="hamming", engine="faiss")},
        {"anchors": "source", "tau_n": 0.0},
        {"anchors": "target", "beta": 0.0},
        {"epsilon": 0.0},
        {"margin": "learnable"},
        {"margin": 0.2, "augment": False, "weight_decay": 0.0},
        {"source_epochs": 1},
    ],
)
def test_each_switch_of_the_recipe_trains(feature_problem, options):
    p = feature_problem
    clf = small(**options).fit(p["X"], p["y"], **domains(p))
    joint = [row for row in clf.history_ if row["stage"] == "joint"]
    wanted = set(clf.annotator_.schemes) if clf.beta > 0 else set()
    terms = {name.removeprefix("loss_") for name in joint[-1] if name.startswith("loss_")}
    assert terms - {"source", "triplet"} == wanted
    assert ("triplet" in terms) == (clf.epsilon > 0)
    assert (clf.margin_ == 0.5) == (clf.margin == 0.5)
    assert clf.score(p["X_tgt"], p["y_tgt"]) > 0.5


def test_each_term_moves_what_it_should(feature_problem):
    """More weight on a loss makes that loss smaller at the end."""
    p = feature_problem
    ends = {}
    for name, weights in {"none": (0, 0), "labels": (3, 0), "triplets": (0, 3)}.items():
        clf = small(beta=weights[0], epsilon=weights[1], epochs=8)
        clf.fit(p["X"], p["y"], **domains(p))
        probabilities = clf.predict_proba(p["X_tgt"])
        labelled = clf.annotation_.weights > 0
        agreement = (probabilities * clf.target_labels_)[labelled].sum(axis=1).mean()
        same = clf.transform(p["X"])[p["y"] == "joy"].mean(axis=0)
        moved = clf.transform(p["X_tgt"])[p["y_tgt"] == "joy"].mean(axis=0)
        ends[name] = agreement, np.linalg.norm(same - moved)
    assert ends["labels"][0] > ends["none"][0] + 0.02
    assert ends["triplets"][1] < ends["none"][1] - 0.05


def test_two_fits_with_one_seed_are_equal_to_the_bit(face_problem):
    p = face_problem
    fits = []
    for seed in (3, 3, 4):
        torch.manual_seed(len(fits))  # what torch drew before must not matter
        fits.append(tiny_faces(random_state=seed).fit(p["X"], p["y"], **domains(p)))
    first, second, other = fits
    for a, b in zip(first.network_.parameters(), second.network_.parameters(), strict=True):
        assert torch.equal(a, b)
    np.testing.assert_array_equal(first.predict_proba(p["X"]), second.predict_proba(p["X"]))
    assert (first.predict_proba(p["X"]) != other.predict_proba(p["X"])).any()


def test_fit_leaves_the_global_random_states_alone(feature_problem):
    p = feature_problem
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    small().fit(p["X"], p["y"], **domains(p))
    left = torch.rand(3), np.random.rand(3)  # noqa: NPY002
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    assert torch.equal(left[0], torch.rand(3))
    np.testing.assert_array_equal(left[1], np.random.rand(3))  # noqa: NPY002


@pytest.mark.parametrize("seed", range(20))
def test_clone_set_params_and_pickle_keep_predictions(feature_problem, seed, tmp_path):
    p = feature_problem
    rng = np.random.default_rng(seed)
    options = {
        "epochs": int(rng.integers(1, 3)),
        "beta": float(rng.uniform(0, 2)),
        "tau_n": float(rng.uniform(0, 0.9)),
        "anchors": str(rng.choice(["both", "source", "target"])),
        "annotator__quantile": float(rng.uniform(0.5, 0.8)),
        "annotator__threshold": "quantile",
        "random_state": seed,
    }
    clf = small().set_params(**options).fit(p["X"], p["y"], **domains(p))
    expected = clf.predict_proba(p["X_tgt"])
    copy = clone(clf)
    assert copy.get_params(deep=False).keys() == clf.get_params(deep=False).keys()
    assert not hasattr(copy, "network_")
    refitted = copy.fit(p["X"], p["y"], **domains(p))
    joblib.dump(clf, tmp_path / "clf.joblib")
    for same in (
        refitted,
        pickle.loads(pickle.dumps(clf)),
        joblib.load(tmp_path / "clf.joblib"),
        pickle.loads(pickle.dumps(small().set_params(**options))).fit(p["X"], p["y"], **domains(p)),
    ):
        np.testing.assert_array_equal(same.predict_proba(p["X_tgt"]), expected)


def test_parameters_are_not_changed_by_fit(feature_problem):
    p = feature_problem
    annotator = AUGuidedAnnotator(threshold=0.5)
    clf = small(annotator=annotator).fit(p["X"], p["y"], **domains(p))
    assert clf.annotator is annotator
    assert not hasattr(annotator, "classes_")
    assert clf.annotator_ is not annotator


def test_arrays_and_paths_of_the_same_faces_give_the_same_model(face_problem, tmp_path):
    p = face_problem

    def write(faces, folder):
        paths = []
        for i, face in enumerate(faces):
            paths.append(tmp_path / f"{folder}{i}.png")
            Image.fromarray(face).save(paths[-1])
        return paths

    paths, target = write(p["X"], "s"), [str(path) for path in write(p["X_tgt"], "t")]
    scores = domains(p, "au_src", "au_tgt")
    from_arrays = tiny_faces().fit(p["X"], p["y"], p["X_tgt"], **scores)
    from_paths = tiny_faces().fit(paths, p["y"], target, **scores)
    np.testing.assert_array_equal(
        from_paths.predict_proba(target), from_arrays.predict_proba(p["X_tgt"])
    )
    assert from_arrays.image_shape_ == (24, 24, 3)


def test_grey_and_float_faces_are_taken(face_problem):
    p = face_problem
    grey, grey_tgt = p["X"].mean(axis=3).astype(np.uint8), p["X_tgt"].mean(axis=3).astype(np.uint8)
    scores = domains(p, "au_src", "au_tgt")
    as_bytes = tiny_faces().fit(grey, p["y"], grey_tgt, **scores)
    as_floats = tiny_faces().fit(grey / 255.0, p["y"], grey_tgt / 255.0, **scores)
    np.testing.assert_array_equal(as_bytes.predict(grey), as_floats.predict(grey / 255.0))


def test_a_computed_au_is_asked_for_once_per_picture(face_problem):
    p = face_problem

    class Brightness:
        """Scores that need no face: where the bright bar is."""

        au_names = ("AU01", "AU02")
        identity = "brightness"
        seen = 0

        def detect(self, images):
            type(self).seen += len(images)
            return np.array(
                [
                    [abs(float(i[3:9].mean()) - 128) / 128, abs(float(i[15:21].mean()) - 128) / 128]
                    for i in images
                ],
                dtype=np.float32,
            )

    extractor = adafer.AUExtractor(detector=Brightness())
    clf = tiny_faces(au_extractor=extractor, annotator=AUGuidedAnnotator(quantile=0.5))
    clf.fit(p["X"], p["y"], p["X_tgt"])
    assert Brightness.seen == len(p["X"]) + len(p["X_tgt"])
    assert clf.au_names_ == ["AU01", "AU02"]
    clf.predict(p["X_tgt"])
    assert Brightness.seen == len(p["X"]) + len(p["X_tgt"])  # no AU at predict


def test_norm_statistics_say_whose_statistics_predict_uses(face_problem):
    p = face_problem
    share = (40 + 2 * 48) / (3 * 88)  # of the target in the joint stage's batches
    means = {}
    for choice in ("trained", "target", "running"):
        clf = tiny_faces(norm_statistics=choice, epochs=1).fit(p["X"], p["y"], **domains(p))
        means[choice] = clf.network_.backbone[1].running_mean.numpy()
        convolution = clf.network_.backbone[0]
        with torch.no_grad():
            source, target = (
                convolution(
                    clf.network_.normalize(torch.from_numpy(p[name]).permute(0, 3, 1, 2) / 255)
                )
                .mean((0, 2, 3))
                .numpy()
                for name in ("X", "X_tgt")
            )
        if choice == "target":
            np.testing.assert_allclose(means[choice], target, atol=1e-4)
        if choice == "trained":
            mixed = share * target + (1 - share) * source
            np.testing.assert_allclose(means[choice], mixed, atol=0.01)
            assert np.abs(mixed - (source + target) / 2).max() > 0.02
    assert np.abs(means["trained"] - means["target"]).max() > 1e-3
    assert np.abs(means["trained"] - means["running"]).max() > 1e-3


def test_warm_start_adapts_a_source_only_model_without_training_it_again(feature_problem):
    p = feature_problem
    clf = small(warm_start=True).fit(p["X"], p["y"])
    before = clf.predict_proba(p["X_tgt"])
    clf.set_params(source_epochs=0, epochs=0).fit(p["X"], p["y"], **domains(p))
    np.testing.assert_array_equal(clf.predict_proba(p["X_tgt"]), before)
    clf.set_params(epochs=2).fit(p["X"], p["y"], **domains(p))
    assert [row["stage"] for row in clf.history_] == ["joint", "joint"]
    assert (clf.predict_proba(p["X_tgt"]) != before).any()
    adapted = clf.predict(p["X_tgt"])
    for _ in range(2):  # the refused classes must not stay behind
        with pytest.raises(ValueError, match="goes on with a network of"):
            clf.fit(p["X"], np.where(p["y"] == "joy", "joy", "other"))
    np.testing.assert_array_equal(clf.predict(p["X_tgt"]), adapted)


def test_sample_weights_reach_the_labels_by_aus(feature_problem):
    p = feature_problem
    weights = np.where(p["y"] == "joy", 3.0, 0.5)
    clf = small(epochs=0).fit(p["X"], p["y"], **domains(p), sample_weight=weights)
    expected = AUGuidedAnnotator(threshold=0.5).fit(p["au_src"], p["y"], weights)
    np.testing.assert_array_equal(clf.target_labels_, expected.annotate(p["au_tgt"]).labels)
    np.testing.assert_array_equal(clf.annotator_.class_prior_, expected.class_prior_)
    assert clf.annotator_.class_prior_[2] > 0.6  # a third of the faces


def test_verbose_says_one_line_per_epoch(feature_problem, capsys):
    p = feature_problem
    small(verbose=1, epochs=2).fit(p["X"], p["y"], **domains(p))
    lines = [line for line in capsys.readouterr().err.splitlines() if "images/s" in line]
    assert len(lines) == 4
    assert "coverage" in lines[-1]
    assert "triplet" in lines[-1]


def test_importing_adafer_does_not_import_torch():
    import subprocess
    import sys

    code = "import sys, adafer; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split()[0] == "False"


# ------------------------------------------------------------------ bad input


def test_unequal_lengths_are_refused(feature_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="150 samples but 149 rows of y"):
        small().fit(p["X"], p["y"][:-1])
    with pytest.raises(ValueError, match="au_src has 149 rows but there are 150 pictures"):
        small().fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"][:-1], au_tgt=p["au_tgt"])
    with pytest.raises(ValueError, match="au_tgt has 119 rows but there are 120 pictures"):
        small().fit(p["X"], p["y"], p["X_tgt"], au_src=p["au_src"], au_tgt=p["au_tgt"][:-1])


def test_target_of_another_image_shape_is_refused(face_problem):
    p = face_problem
    with pytest.raises(ValueError, match=r"12x24 but X has 24x24.*transform_input"):
        tiny_faces().fit(p["X"], p["y"], p["X_tgt"][:, :12], **domains(p, "au_src", "au_tgt"))
    with pytest.raises(ValueError, match="X_tgt holds 2-D features but the network takes faces"):
        tiny_faces().fit(p["X"], p["y"], np.zeros((5, 3)), **domains(p, "au_src", "au_tgt"))
    with pytest.raises(ValueError, match="X holds features but X_tgt holds pictures"):
        tiny_faces().fit(np.zeros((48, 3)), p["y"], p["X_tgt"], **domains(p, "au_src", "au_tgt"))


def test_target_features_of_another_width_are_refused(feature_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="2 features, but AdaFERClassifier is expecting 3"):
        small().fit(p["X"], p["y"], p["X_tgt"][:, :2], **domains(p, "au_src", "au_tgt"))


def test_an_empty_target_is_refused(face_problem, feature_problem):
    p = face_problem
    with pytest.raises(ValueError, match="X_tgt is empty"):
        tiny_faces().fit(p["X"], p["y"], [])
    with pytest.raises(ValueError, match="X_tgt is empty"):
        tiny_faces().fit(p["X"], p["y"], p["X_tgt"][:0])
    p = feature_problem
    with pytest.raises(ValueError, match="0 sample"):
        small().fit(p["X"], p["y"], p["X_tgt"][:0], au_src=p["au_src"], au_tgt=p["au_tgt"][:0])


def test_a_class_with_one_sample_is_refused(feature_problem):
    p = feature_problem
    y = p["y"].astype(object)
    y[0] = "contempt"
    with pytest.raises(ValueError, match=r"at least 2 readable .* got \{'contempt': 1\}"):
        small().fit(p["X"], y)


def test_au_scores_without_information_are_refused(feature_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="Every row of au_src holds NaN"):
        small().fit(
            p["X"], p["y"], p["X_tgt"], au_src=np.full((150, 4), np.nan), au_tgt=p["au_tgt"]
        )
    with pytest.raises(ValueError, match=r"(?i)equal|constant"):
        small(annotator=AUGuidedAnnotator()).fit(
            p["X"], p["y"], p["X_tgt"], au_src=np.full((150, 4), 0.3), au_tgt=p["au_tgt"]
        )


def test_a_class_without_any_face_is_refused_before_training(feature_problem):
    p = feature_problem
    au_src = np.where(p["y"][:, None] == "joy", np.nan, p["au_src"])
    with pytest.raises(ValueError, match=r"No source picture of the classes \['joy'\]"):
        small().fit(p["X"], p["y"], p["X_tgt"], au_src=au_src, au_tgt=p["au_tgt"])


def test_au_tables_of_other_au_sets_are_refused(feature_problem):
    p = feature_problem
    names = ["AU01", "AU02", "AU04", "AU12"]
    source = pd.DataFrame(p["au_src"], columns=names)
    target = pd.DataFrame(p["au_tgt"], columns=[*names[:3], "AU25"])
    with pytest.raises(ValueError, match=r"au_tgt lacks \['AU12'\] and adds \['AU25'\]"):
        small().fit(p["X"], p["y"], p["X_tgt"], au_src=source, au_tgt=target)
    target.columns = names
    turned = small().fit(p["X"], p["y"], p["X_tgt"], au_src=source, au_tgt=target[names[::-1]])
    straight = small().fit(p["X"], p["y"], **domains(p))
    np.testing.assert_array_equal(turned.predict_proba(p["X"]), straight.predict_proba(p["X"]))


def test_features_without_au_scores_are_refused(feature_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="cannot be computed from 2-D features: give au_src"):
        small().fit(p["X"], p["y"], p["X_tgt"])
    with pytest.raises(ValueError, match="au_tgt was given without X_tgt"):
        small().fit(p["X"], p["y"], au_tgt=p["au_tgt"])


def test_no_match_at_all_is_refused_before_training(feature_problem):
    p = feature_problem
    au_src = np.where(p["y"][:, None] == "joy", [[0.9, 0.1]], [[0.8, 0.9]])
    au_tgt = np.tile([[0.1, 0.9]], (120, 1))
    clf = small()
    with pytest.raises(ValueError, match=r"0 of 120 matched.*backoff='near'"):
        clf.fit(p["X"], p["y"], p["X_tgt"], au_src=au_src, au_tgt=au_tgt)
    assert not hasattr(clf, "history_")


def test_an_unreadable_picture_is_named_before_training(face_problem, tmp_path):
    p = face_problem
    paths = []
    for i, face in enumerate(p["X"]):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(face).save(paths[-1])
    paths[7].write_bytes(b"no picture")
    with pytest.raises(FaceReadError, match=r"7\.png"):
        tiny_faces().fit(paths, p["y"])
    clf = tiny_faces(on_error="skip").fit(paths, p["y"])
    assert [str(path) for _, path, _ in clf.skipped_["X"]] == [str(paths[7])]
    without = [i for i in range(len(paths)) if i != 7]
    expected = tiny_faces().fit(p["X"][without], p["y"][without])
    np.testing.assert_array_equal(clf.predict_proba(p["X"]), expected.predict_proba(p["X"]))
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        tiny_faces().fit([tmp_path / "missing.png"], ["joy"])


def test_predicting_another_kind_of_input_is_refused(face_problem, feature_problem):
    faces = tiny_faces(epochs=1).fit(face_problem["X"], face_problem["y"])
    with pytest.raises(ValueError, match="2-D features but the network takes faces"):
        faces.predict(np.zeros((2, 3)))
    features = small(epochs=1).fit(feature_problem["X"], feature_problem["y"])
    with pytest.raises(ValueError, match="fitted on features"):
        features.predict(face_problem["X"])


def test_weights_file_of_another_network_is_refused(face_problem, tmp_path):
    p = face_problem
    torch.save({"fc1.weight": torch.zeros(3, 3)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not hold weights of 'convnet'"):
        tiny_faces(weights=tmp_path / "w.pth").fit(p["X"], p["y"])


def test_a_device_that_is_not_there_is_refused(feature_problem):
    p = feature_problem
    with pytest.raises(ValueError, match="device='tpu' is not known"):
        small(device="tpu").fit(p["X"], p["y"])
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="is not on this machine"):
            small(device="cuda").fit(p["X"], p["y"])


def test_a_diverging_loss_is_an_error(feature_problem):
    p = feature_problem
    with pytest.raises(FloatingPointError, match="Lower learning_rate"):
        small(learning_rate=1e25, epochs=3).fit(p["X"], p["y"])
