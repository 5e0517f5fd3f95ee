"""Training AU heads: what they learn, that they are calibrated, and faults."""

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from adafer.aus import training
from adafer.aus.heads import TrainedHeads, load_heads
from adafer.aus.measurements import Measurements
from adafer.aus.training import (
    HEAD_AUS,
    degrade,
    fit_heads,
    main,
    mean_shape,
    measure_both,
    measure_renders,
)
from adafer.datasets import load_facs_faces

AUS = ("AU05", "AU09", "AU12")


@pytest.fixture(scope="module")
def problem():
    """Two domains in which AU05 moves landmarks, AU12 blendshapes, AU09 makes an edge."""
    rng = np.random.default_rng(0)
    heads = load_heads("trained")
    n = 600
    domains = np.repeat(["one", "two"], n // 2)
    intensities = rng.random((n, 3)) * (rng.random((n, 3)) < 0.5)
    points = heads.reference + rng.normal(0, 0.002, (n, 478, 3))
    points[:, [159, 386], 1] -= 0.02 * intensities[:, :1]
    points = 100 * points + np.where(domains == "one", 0, 50)[:, None, None]
    blendshapes = np.clip(rng.normal(0.2, 0.05, (n, 52)), 0, 1)
    blendshapes[:, [44, 45]] += 0.4 * intensities[:, 2:]
    faces = rng.integers(90, 110, (n, 64, 64)).astype(float)
    faces[:, 20:22, 24:40] += 80 * intensities[:, 1, None, None]
    faces[domains == "two"] += 30
    measured = Measurements(
        points, blendshapes.astype(np.float32), faces.astype(np.uint8), np.ones(n)
    )
    return measured, intensities, domains


def test_what_each_view_shows_is_learnt(problem):
    measured, intensities, domains = problem
    heads, report = fit_heads(measured, intensities, AUS, domains)
    assert report.domains == ["one", "two"]
    assert report.auc.shape == (2, 3)
    assert report.auc_of_views.shape == (2, 4, 3)
    assert report.auc.min() > 0.75
    landmarks, blendshapes, appearance, _ = report.auc_of_views.mean(axis=0)
    assert landmarks[0] > 0.8 > max(blendshapes[0], appearance[0])
    assert appearance[1] > 0.8 > max(landmarks[1], blendshapes[1])
    assert blendshapes[2] > 0.8 > max(landmarks[2], appearance[2])
    assert np.isnan(report.auc_of_views[:, 3, 1]).all()  # no blendshape is named after AU09
    own = heads.scores(measured)
    for column in range(3):
        shown = intensities[:, column] >= training.VISIBLE
        assert roc_auc_score(shown, own[:, column]) > 0.75


def test_scores_are_probabilities(problem):
    measured, intensities, domains = problem
    heads, report = fit_heads(measured, intensities, AUS, domains)
    scores, shown = heads.scores(measured), intensities >= training.VISIBLE
    for column in range(3):
        assert scores[:, column].mean() == pytest.approx(shown[:, column].mean(), abs=0.03)
        order = np.argsort(scores[:, column])
        for third in np.array_split(order, 3):
            assert scores[third, column].mean() == pytest.approx(
                shown[third, column].mean(), abs=0.15
            )
    base_rate = shown.mean(axis=0) * (1 - shown.mean(axis=0))
    assert (report.brier < 0.9 * base_rate).all()


def test_the_report_is_on_faces_not_trained_on(problem):
    measured, intensities, domains = problem
    upside_down = intensities.copy()
    upside_down[domains == "two"] = 0.9 - 0.9 * (intensities[domains == "two"] > 0.2)
    _, report = fit_heads(measured, upside_down, AUS, domains)
    # each domain is scored by what the other taught; AU12 also by the blendshape of its name
    assert report.auc[:, :2].max() < 0.3


def test_an_au_by_itself_is_not_taught_by_expressions(problem):
    measured, intensities, domains = problem
    posed = np.arange(len(domains)) % 2 == 0
    shuffled = intensities.copy()
    shuffled[posed] = shuffled[posed][::-1]
    first, second = (
        fit_heads(measured, truth, AUS, domains, expressions=posed, by_themselves=["AU05"])[0]
        for truth in (intensities, shuffled)
    )
    for view in ("landmarks", "blendshapes", "appearance"):
        one, other = getattr(first, view), getattr(second, view)
        np.testing.assert_allclose(one[:, 0], other[:, 0], rtol=1e-4, atol=1e-6)
        assert np.abs(one[:, 1:] - other[:, 1:]).max() > 0.01
    taught = [
        fit_heads(measured, truth, AUS, domains, expressions=posed, by_themselves=[])[0].landmarks
        for truth in (intensities, shuffled)
    ]
    assert np.abs(taught[0][:, 0] - taught[1][:, 0]).max() > 0.01


def test_mean_shape_looks_ahead_and_is_its_own_mirror_image():
    truth = load_heads("trained").reference.astype(float)
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    rng = np.random.default_rng(1)
    faces = 70 * (truth + rng.normal(0, 0.001, (40, 478, 3))) @ turn + 9
    reference, mirror = mean_shape(faces)
    np.testing.assert_allclose(reference[mirror] * [-1, 1, 1], reference, atol=1e-9)
    assert np.linalg.norm(reference) == pytest.approx(1)
    np.testing.assert_allclose(reference, truth, atol=2e-3)
    assert (mirror[[33, 133, 61]] == [263, 362, 291]).all()  # eyes and mouth change sides
    assert (mirror[mirror] == np.arange(478)).all()


def test_poor_pictures_are_smaller_and_depend_on_the_seed_alone():
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    pictures = [degrade(image, np.random.default_rng(seed)) for seed in range(30)]
    sizes = {picture.shape[0] for picture in pictures}
    assert min(sizes) >= 40
    assert max(sizes) <= 80
    assert len(sizes) > 10
    grey = [bool((picture.std(axis=2) == 0).all()) for picture in pictures]
    assert 5 < sum(grey) < 25
    np.testing.assert_array_equal(pictures[3], degrade(image, np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domains": ["one"] * 600}, "of the domain 'one' alone; expected two"),
        ({"intensities": np.zeros((600, 2))}, r"intensities must have shape \(600, 3\)"),
        ({"intensities": np.full((600, 3), np.nan)}, "intensities holds NaN"),
        ({"intensities": np.ones((600, 3))}, "AU05 is visible in 100% of the faces"),
        ({"expressions": np.ones(600)}, "expressions must be 600 times True or False"),
        ({"expressions": np.ones(9, dtype=bool)}, r"expressions must be .* shape \(9,\)"),
        ({"expressions": np.ones(600, dtype=bool)}, "'one' show expressions; some must show"),
    ],
)
def test_unfit_faces_are_refused(problem, change, message):
    measured, intensities, domains = problem
    given = {"intensities": intensities, "domains": domains, **change}
    with pytest.raises(ValueError, match=message):
        fit_heads(measured, au_names=AUS, **given)


@pytest.fixture(scope="module")
def renders(tmp_path_factory):
    """Two small files as the renderer writes them."""
    folder = tmp_path_factory.mktemp("renders")
    paths = []
    for domain in ("studio", "wild"):
        bunch = load_facs_faces(domain=domain, split="train")
        rows = np.arange(70)
        jpegs = []
        for image in bunch.images[rows]:
            stored = io.BytesIO()
            Image.fromarray(image).save(stored, "JPEG", quality=95)
            jpegs.append(stored.getvalue())
        offsets = np.concatenate([[0], np.cumsum([len(jpeg) for jpeg in jpegs])])
        paths.append(folder / f"{domain}.npz")
        np.savez(
            paths[-1],
            jpeg=np.frombuffer(b"".join(jpegs), dtype=np.uint8),
            offsets=offsets,
            au=bunch.au[rows],
            au_names=np.array(bunch.au_names),
        )
    return paths


def test_the_command_trains_from_rendered_files(renders, tmp_path, capsys):
    output = tmp_path / "new" / "heads.safetensors"
    arguments = [*map(str, renders), "--expressions", str(renders[1]), "--output", str(output)]
    arguments += ["--aus", "AU1", "AU12", "AU25"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| AU12 |" in printed
    heads = TrainedHeads.load(output)
    assert heads.au_names == ("AU01", "AU12", "AU25")
    assert heads.identity in printed


def test_both_kinds_are_measured_in_one_table(problem, monkeypatch):
    measured, intensities, domains = problem

    def measure(files, *, seed):
        rows = np.arange(len(files)) + seed
        return measured.rows(rows), intensities[rows], domains[rows]

    monkeypatch.setattr(training, "measure_renders", measure)
    both, truth, places, posed = measure_both(["a", "b"], ["c", "d", "e"], seed=7)
    assert posed.tolist() == [False, False, True, True, True]
    rows = [7, 8, 7, 8, 9]
    np.testing.assert_array_equal(both.points, measured.points[rows])
    np.testing.assert_array_equal(truth, intensities[rows])
    np.testing.assert_array_equal(places, domains[rows])
    *_, none = measure_both(["a", "b"], [], seed=0)
    assert none.tolist() == [False, False]


def test_measuring_pairs_each_face_with_its_degraded_copy(renders):
    measured, intensities, domains = measure_renders(renders[:1], au_names=["AU12", "AU26"])
    assert set(domains) == {"studio"}
    assert len(measured.points) == len(intensities) > 130
    full = load_facs_faces(domain="studio", split="train")
    jaw = full.au[:70][:, [full.au_names.index("AU26"), full.au_names.index("AU27")]].max(axis=1)
    assert set(np.round(intensities[:, 1], 3)) <= set(np.round(jaw, 3))
    assert intensities[:, 1].max() == pytest.approx(jaw.max())


def test_the_command_tells_what_is_wrong(renders, tmp_path, capsys):
    output = str(tmp_path / "heads.safetensors")
    assert main([str(tmp_path / "none.npz"), "--output", output]) == 2
    assert "none.npz" in capsys.readouterr().err
    assert main([str(renders[0]), "--output", output, "--aus", "AU28"]) == 2
    assert "has no AU28" in capsys.readouterr().err
    assert main([str(renders[0]), "--output", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_the_package_has_heads_for_the_aus_of_facs_scoring():
    assert load_heads("trained").au_names == HEAD_AUS
