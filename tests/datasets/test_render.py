"""What the face renderer knows: action units, expressions, people, annotators, pictures."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

pytest.importorskip("numba", reason="the renderer needs the extra adafer[render]")

from adafer.datasets import render
from adafer.datasets.render import annotators, camera, circumstances, domains, rig
from adafer.datasets.render.combinations import EXCLUSIVE
from adafer.datasets.render.raster import rasterise, value_noise, vertex_normals

FRONTAL = circumstances.Pose(0.0, 0.0, 0.0, (0.0, 0.0))
each_domain = pytest.mark.parametrize(
    "domain", domains.DOMAINS.values(), ids=lambda domain: domain.name
)


@pytest.fixture(scope="module")
def head():
    return render.load_assets()


def prototypes():
    return [(name, prototype) for name, many in rig.EXPRESSIONS.items() for prototype in many]


# ------------------------------------------------------------------- tables


def test_rig_uses_only_shapes_that_exist(head):
    tables = [*rig.AU_UNITS.values(), *rig.AU_COMBINATIONS.values()]
    assert {unit for table in tables for unit in table} <= set(head.units)


def test_prototypes_use_only_units_of_the_rig():
    for name, prototype in prototypes():
        used = {*prototype.always, *prototype.sometimes}
        assert used <= set(rig.AU_UNITS), name


def test_prototypes_have_intensities_and_probabilities_in_range():
    for name, prototype in prototypes():
        intensities = [*prototype.always.values(), *(u for _, u in prototype.sometimes.values())]
        assert all(0 < value <= 1 for value in intensities), name
        assert all(0 < chance < 1 for chance, _ in prototype.sometimes.values()), name


def test_what_parts_the_lips_is_never_without_au25_in_an_expression():
    for name, prototype in prototypes():
        if set(rig.PARTING) & {*prototype.always, *prototype.sometimes}:
            assert 25 in {*prototype.always, *prototype.sometimes}, name


def test_names_follow_the_numbers():
    assert list(rig.AU_NAMES) == [f"AU{number:02d}" for number in sorted(rig.AU_UNITS)]


def test_intensities_become_a_row_in_the_order_of_the_names():
    row = rig.intensity_row({12: 0.25, 1: 1.0})
    assert row[rig.AU_NAMES.index("AU12")] == 0.25
    assert row[0] == 1
    assert row.sum() == 1.25


# -------------------------------------------------------------------- draws


@pytest.mark.parametrize("expression", list(rig.EXPRESSIONS))
def test_drawn_expressions_are_in_range_reproducible_and_varied(expression):
    draws = [rig.draw_action_units(expression, np.random.default_rng(seed)) for seed in range(50)]
    again = [rig.draw_action_units(expression, np.random.default_rng(seed)) for seed in range(50)]
    assert draws == again
    assert all(0 <= value <= 1 for draw in draws for value in draw.values())
    assert len({tuple(sorted(draw.items())) for draw in draws}) == 50


def test_unknown_expression_is_refused():
    with pytest.raises(ValueError, match="expression is 'contempt', expected one of"):
        rig.draw_action_units("contempt", np.random.default_rng(0))


@pytest.fixture(scope="module")
def drawn():
    return [render.draw_combination(np.random.default_rng(seed)) for seed in range(3000)]


def test_combinations_are_in_range_and_reproducible(drawn):
    assert drawn[:20] == [render.draw_combination(np.random.default_rng(s)) for s in range(20)]
    assert all(number in rig.AU_UNITS for draw in drawn for number in draw)
    assert all(0.1 <= value <= 1 for draw in drawn for value in draw.values())
    assert max(len(draw) for draw in drawn) <= 6


def test_combinations_hold_no_units_that_exclude_each_other(drawn):
    for draw in drawn:
        assert not any(pair <= set(draw) for pair in EXCLUSIVE), draw


def test_units_that_part_the_lips_bring_au25(drawn):
    parting = [draw for draw in drawn if set(draw) & set(rig.PARTING)]
    assert len(parting) > 100
    assert all(
        draw.get(25, 0) >= 0.7 * max(draw.get(n, 0) for n in rig.PARTING) - 1e-9 for draw in parting
    )


def test_combinations_go_together_as_in_faces(drawn):
    def share(number, given):
        having = [draw for draw in drawn if given in draw and len(draw) > 1]
        return np.mean([number in draw for draw in having])

    def base(number):
        return np.mean([number in draw for draw in drawn])

    for number, given in ((2, 1), (6, 12), (7, 4), (17, 15), (25, 26), (1, 2)):
        assert share(number, given) > 1.5 * base(number), (number, given)


def test_each_unit_is_common_enough_and_no_one_is_everywhere(drawn):
    counts = {number: np.mean([number in draw for draw in drawn]) for number in rig.AU_NUMBERS}
    assert min(counts.values()) > 0.03
    assert max(counts.values()) < 0.6
    alone = [draw for draw in drawn if len(draw) <= 1]
    assert 0.15 < len(alone) / len(drawn) < 0.35


# --------------------------------------------------------------- movements

# Unit -> (landmark, axis, sign, at least so many decimetres); x counts outwards.
MOVEMENTS = {
    1: [("inner_brows", "y", +1, 0.05)],
    4: [("inner_brows", "y", -1, 0.05), ("inner_brows", "x", -1, 0.05)],
    5: [("upper_lids", "y", +1, 0.03)],
    6: [("cheeks", "y", +1, 0.05)],
    7: [("lower_lids", "y", +1, 0.02), ("upper_lids", "y", -1, 0.005)],
    9: [("nose_wings", "y", +1, 0.05), ("inner_brows", "x", -1, 0.03)],
    10: [("nose_wings", "y", +1, 0.015)],
    12: [("corners", "y", +1, 0.1), ("corners", "x", +1, 0.05)],
    14: [("corners", "x", +1, 0.03)],
    15: [("corners", "y", -1, 0.05)],
    17: [("chin", "y", +1, 0.03)],
    18: [("corners", "x", -1, 0.03)],
    20: [("corners", "x", +1, 0.05), ("corners", "y", -1, 0.01)],
    23: [("corners", "x", -1, 0.02)],
    26: [("chin", "y", -1, 0.08)],
    27: [("chin", "y", -1, 0.2)],
    43: [("upper_lids", "y", -1, 0.1)],
}


@pytest.mark.parametrize("number", list(MOVEMENTS))
def test_units_move_the_face_where_and_whither_facs_says(head, number):
    moved = rig.facial_displacement(head, {number: 1.0})
    for landmark, axis, sign, least in MOVEMENTS[number]:
        rows = getattr(head.points, landmark)
        along = moved[rows, 1] if axis == "y" else np.sign(head.vertices[rows, 0]) * moved[rows, 0]
        assert sign * along.mean() > least, (landmark, axis)


def test_au01_raises_the_inner_brows_and_au02_does_not(head):
    inner, outer = (rig.facial_displacement(head, {number: 1.0}) for number in (1, 2))
    rows = head.points.inner_brows
    assert inner[rows, 1].mean() > 5 * outer[rows, 1].mean()
    assert outer[:, 1].max() > 0.05


@pytest.mark.parametrize("number", [25, 22, 27])
def test_lips_part_with_the_units_that_part_them(head, number):
    assert gap(head, {number: 1.0}) > 0.05


@pytest.mark.parametrize("others", [{10: 1.0}, {12: 1.0, 10: 0.8}, {26: 1.0}, {15: 1.0, 17: 1.0}])
def test_lips_stay_together_without_au25(head, others):
    assert gap(head, others) < 0.03
    assert gap(head, {**others, 25: 1.0}) > gap(head, others) + 0.04


def gap(head, intensities):
    moved = rig.facial_displacement(head, intensities)
    stations = head.points.lips
    return (moved[stations.upper, 1] - moved[stations.lower, 1]).max()


def test_displacement_grows_with_the_intensity(head):
    half, full = (rig.facial_displacement(head, {2: value}) for value in (0.5, 1.0))
    np.testing.assert_allclose(full, 2 * half)
    assert np.abs(full).max() > 0.02


def test_asymmetry_moves_one_side_more(head):
    even = rig.facial_displacement(head, {12: 0.8})
    leaning = rig.facial_displacement(head, {12: 0.8}, {12: 0.3})
    left, right = head.points.corners  # pairs are left, right
    assert leaning[left, 1] > 1.15 * even[left, 1]
    assert leaning[right, 1] < 0.85 * even[right, 1]


def test_unknown_action_unit_is_refused(head):
    with pytest.raises(ValueError, match=r"no action units \[99\]"):
        rig.facial_displacement(head, {99: 1.0})


# ------------------------------------------------------------------ people


def people(head, recipe=None, n=40):
    extra = () if recipe is None else (recipe,)
    return [render.draw_identity(head, np.random.default_rng([n, s]), *extra) for s in range(n)]


def test_people_differ_in_age_sex_and_ethnicity(head):
    drawn = people(head)
    assert np.ptp([person.years for person in drawn]) > 30
    assert np.ptp([person.male for person in drawn]) > 0.9
    assert (np.ptp([person.ethnicity for person in drawn], axis=0) > 0.6).all()
    np.testing.assert_allclose([person.ethnicity.sum() for person in drawn], 1)


@each_domain
def test_people_are_of_the_ages_their_domain_says_and_no_monsters(head, domain):
    drawn = people(head, domain.people, n=12)
    low = min(group[0] for group in domain.people.years)
    high = max(group[1] for group in domain.people.years)
    assert all(low <= person.years <= high for person in drawn)
    height = np.ptp(head.vertices[:, 1])
    for person in drawn:
        shaped = head.vertices + person.displacement
        assert np.isfinite(shaped).all()
        assert 0.7 < np.ptp(shaped[:, 1]) / height < 1.35


def test_one_seed_gives_one_person(head):
    first, again, other = (
        render.draw_identity(head, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.displacement, again.displacement)
    assert not np.array_equal(first.displacement, other.displacement)


# -------------------------------------------------------------- annotators


@each_domain
def test_annotators_are_mostly_right(domain):
    confusion = domain.confusion
    assert confusion.shape == (7, 7)
    assert confusion.min() >= 0
    np.testing.assert_allclose(confusion.sum(axis=1), 1)
    assert (confusion.argmax(axis=1) == np.arange(7)).all()
    assert np.diag(confusion).min() > 0.7


def test_drawn_labels_follow_the_matrix():
    confusion = domains.WILD.confusion
    generator = np.random.default_rng(0)
    shown = list(rig.EXPRESSIONS).index("fear")
    labels = [annotators.draw_label(confusion, shown, generator) for _ in range(5000)]
    shares = np.bincount(labels, minlength=7) / len(labels)
    np.testing.assert_allclose(shares, confusion[shown], atol=0.02)


def test_habits_are_checked():
    with pytest.raises(ValueError, match=r"Unknown expressions \['joy'\]"):
        annotators.label_confusion({"joy": {"neutral": 0.1}})
    with pytest.raises(ValueError, match="add up to more than one"):
        annotators.label_confusion({"anger": {"neutral": 0.7, "fear": 0.6}})


# ------------------------------------------------------------- inner loops


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


# ----------------------------------------------------- light, camera, pose


def test_rotation_of_a_pose_keeps_lengths():
    rotation = circumstances.Pose(0.4, -0.2, 0.1, (0, 0)).rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@each_domain
def test_backgrounds_are_in_range(domain):
    for seed in range(10):
        generator = np.random.default_rng(seed)
        background = circumstances.draw_background(domain.background, 96, generator)
        assert background.shape == (96, 96, 3)
        assert 0 <= background.min() <= background.max() <= 1


@each_domain
def test_lights_point_somewhere(domain):
    for seed in range(10):
        lighting = circumstances.draw_lighting(domain.light, np.random.default_rng(seed))
        assert 1 <= len(lighting.lights) <= 2
        for light in lighting.lights:
            assert np.linalg.norm(light.direction) == pytest.approx(1)
            assert (light.colour > 0).all()


def edge(width=64):
    light = np.full((width, width, 3), 0.1)
    light[:, width // 2 :] = 0.6
    return light


def picture(seed=0, **changes):
    plain = replace(
        domains.STUDIO.camera, blur=(0, 0), noise=(0, 0), cast=0.0, gamma=(1, 1), **changes
    )
    return camera.take_picture(plain, edge(), np.random.default_rng(seed)).astype(float)


def test_camera_blurs_coarsens_compresses_and_forgets_colour():
    sharp = picture()
    steepest = np.abs(np.diff(sharp, axis=1)).max()
    coarse = picture(resolution=(0.4, 0.4))
    assert np.abs(np.diff(coarse, axis=1)).max() < 0.7 * steepest
    assert 0 < np.abs(picture(quality=(20, 20)) - sharp).mean() < 10
    tinted = edge() * [1.0, 0.6, 0.4]
    grey = camera.take_picture(
        replace(domains.STUDIO.camera, grey_share=1.0), tinted, np.random.default_rng(0)
    )
    assert np.ptp(grey.astype(int), axis=2).max() <= 1


# ---------------------------------------------------------------- pictures


def test_action_units_change_the_picture_where_they_act(head):
    person = render.draw_identity(head, np.random.default_rng(1))
    images = [
        render.render_face(
            head, person, shown, domains.STUDIO, np.random.default_rng(2), size=48, pose=FRONTAL
        ).image.astype(int)
        for shown in ({}, {2: 1.0}, {12: 1.0})
    ]
    brows, smile = (np.abs(image - images[0]).sum(axis=-1) for image in images[1:])
    assert brows[:18].sum() > 3 * brows[30:].sum()
    assert smile[24:].sum() > 3 * smile[:16].sum()


@each_domain
def test_faces_are_in_the_middle_of_their_pictures(head, domain):
    person = render.draw_identity(head, np.random.default_rng(5), domain.people)
    shown, hidden = (
        render.render_face(head, person, units, domain, np.random.default_rng(1), size=32).image
        for units in ({12: 1.0, 25: 1.0, 1: 1.0}, {})
    )
    assert shown.shape == (32, 32, 3)
    assert shown.dtype == np.uint8
    changed = np.abs(shown.astype(int) - hidden).sum(axis=2)
    rows, columns = np.nonzero(changed > 60)
    assert len(rows) > 10
    assert 8 < np.median(columns) < 24


def test_sheets_show_every_unit_and_every_domain(head):
    gallery, sheet = render.draw_gallery(head, size=16), render.draw_domains(head, size=16)
    assert gallery.width == 8 * 16
    assert sheet.size == (14 * 16, 3 * (14 + 3 * 16))
    blocks = np.asarray(sheet)[:, :, :3].reshape(3, -1, 14 * 16, 3)[:, 14:]
    for first, second in combinations(blocks, 2):
        assert np.abs(first.astype(int) - second).mean() > 10
