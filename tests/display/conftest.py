"""What the tests of displays share."""

import numpy as np
import pytest

from adafer import AdaFERClassifier, AUGuidedAnnotator
from adafer.inheritance import TargetAnnotation


@pytest.fixture
def check_texts():
    """Draw, and see that no two texts overlap and none leaves the figure."""

    def check(figure):
        figure.draw_without_rendering()
        texts = []
        for ax in figure.axes:
            if ax.axison:
                texts += [ax.xaxis.label, ax.yaxis.label]
                for axis in (ax.xaxis, ax.yaxis):
                    # ticks beyond the limits of their axis are not drawn
                    low, high = sorted(axis.get_view_interval())
                    texts += [tick.label1 for tick in axis.get_major_ticks()
                              if low <= tick.get_loc() <= high]  # fmt: skip
            texts += [*ax.texts, ax.title]
            if ax.get_legend():
                texts += ax.get_legend().get_texts()
        whole = figure.bbox
        shown = [text for text in texts if text.get_visible() and text.get_text()]
        boxes = [text.get_window_extent() for text in shown]
        assert len(boxes) > 3
        for number, box in enumerate(boxes):
            assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, shown[number]
            assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, shown[number]
            if shown[number].get_rotation() in (0, 90):
                for other, text in zip(boxes[number + 1 :], shown[number + 1 :], strict=True):
                    slanted = text.get_rotation() not in (0, 90)
                    assert slanted or not box.overlaps(other), (shown[number], text)

    return check


@pytest.fixture
def annotation():
    """Six targets: three matched, one labelled by near scores, two without a label."""
    labels = np.array([[1, 0], [0.25, 0.75], [0.5, 0.5], [0.1, 0.9], [0, 0], [0, 0]])
    return TargetAnnotation(
        classes=np.array(["fear", "joy"]),
        labels=labels,
        votes=labels,
        hard_labels=np.array([0, 1, 0, 1, -1, -1]),
        last_labels=np.array([0, 1, 0, 1, -1, -1]),
        weights=np.array([1.0, 1, 1, 1, 0, 0]),
        match_counts=np.array([1, 4, 2, 0, 0, 0]),
        matched_by=np.array(["exact", "exact", "exact", "near", "none", "none"]),
    )


@pytest.fixture
def adapted(feature_problem):
    """A classifier of features, adapted for one epoch."""
    problem = feature_problem
    return AdaFERClassifier(
        annotator=AUGuidedAnnotator(threshold=0.5), epochs=1, random_state=0, device="cpu"
    ).fit(
        problem["X"], problem["y"], problem["X_tgt"],
        au_src=problem["au_src"], au_tgt=problem["au_tgt"],
    )  # fmt: skip


@pytest.fixture
def adapted_to_faces(tmp_path, face_problem):
    """A classifier adapted to files, the third of which cannot be read; and the paths."""
    from PIL import Image

    problem = face_problem
    paths = [str(tmp_path / f"{number}.png") for number in range(len(problem["X_tgt"]))]
    for path, face in zip(paths, problem["X_tgt"], strict=True):
        Image.fromarray(face).save(path)
    (tmp_path / "2.png").write_bytes(b"no picture")
    classifier = AdaFERClassifier(
        "convnet", annotator=AUGuidedAnnotator(threshold=0.5), image_size=16, epochs=1,
        on_error="skip", random_state=0, device="cpu",
    ).fit(
        problem["X"], problem["y"], paths, au_src=problem["au_src"], au_tgt=problem["au_tgt"]
    )  # fmt: skip
    return classifier, paths
