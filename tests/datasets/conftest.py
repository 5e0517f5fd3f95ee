"""Tiny copies of public data sets, in the layouts in which these are published."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

FER2013_USAGES = ("Training", "PublicTest", "PrivateTest")
VOTES = "neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"


def draw(path, grey=100, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)
    return path


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def fer2013(root, codes=range(7), usages=FER2013_USAGES, name="fer2013.csv"):
    """Row i has the grey value i; the usages take turns."""
    lines = ["emotion,pixels,Usage"]
    for row, code in enumerate(codes):
        pixels = " ".join([str(row)] * 48 * 48)
        lines.append(f"{code},{pixels},{usages[row % len(usages)]}")
    return write(root / name, *lines)


def icml_face_data(root, codes=range(7)):
    """The second table of the challenge: another order, and blanks in the header."""
    lines = ["emotion, Usage, pixels"]
    for row, code in enumerate(codes):
        pixels = " ".join([str(row)] * 48 * 48)
        lines.append(f"{code},{FER2013_USAGES[row % 3]},{pixels}")
    return write(root / "icml_face_data.csv", *lines)


def fer2013_folders(root):
    for part in ("train", "test"):
        for name in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
            draw(root / part / name / f"Training_{name}.jpg")
    return root


def ferplus(root, votes, nameless=()):
    """Both tables; `nameless` are the rows without an image name."""
    fer2013(root, [0] * len(votes))
    lines = [f"Usage,Image name,{VOTES}"]
    for row, counts in enumerate(votes):
        name = "" if row in nameless else f"fer{row:07d}.png"
        lines.append(",".join([FER2013_USAGES[row % 3], name, *map(str, counts)]))
    write(root / "fer2013new.csv", *lines)
    return root


def raf_db(root, codes=range(1, 8)):
    lines = []
    for number, code in enumerate(codes):
        name = f"{('train', 'test')[number % 2]}_{number:05d}"
        lines.append(f"{name}.jpg {code}")
        draw(root / "Image" / "aligned" / f"{name}_aligned.jpg")
        draw(root / "Image" / "original" / f"{name}.jpg")
    write(root / "EmoLabel" / "list_patition_label.txt", *lines)
    return root


def ck_plus(root, codes=range(1, 8), n_frames=5):
    """One sequence per code, and one without a label."""
    for number, code in enumerate([*codes, None]):
        subject, sequence = f"S{10 + number // 2:03d}", f"{1 + number % 2:03d}"
        stem = f"{subject}_{sequence}"
        for frame in range(1, n_frames + 1):
            draw(root / "cohn-kanade-images" / subject / sequence / f"{stem}_{frame:08d}.png")
        (root / "cohn-kanade-images" / subject / sequence / ".DS_Store").touch()
        labels = root / "Emotion" / subject / sequence
        labels.mkdir(parents=True)
        if code is not None:
            write(labels / f"{stem}_{n_frames:08d}_emotion.txt", f"   {code:.7e}")
    return root


def ck_plus_folders(root):
    names = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
    for number, name in enumerate(names):
        for frame in (15, 16, 17):
            draw(root / name / f"S{number:03d}_004_{frame:08d}.png", size=(48, 48))
    return root


def jaffe(root, codes=("AN", "DI", "FE", "HA", "NE", "SA", "SU")):
    for subject in ("KA", "YM"):
        for number, code in enumerate(codes):
            draw(root / f"{subject}.{code}1.{39 + number}.tiff")
    (root / "README").write_text("about JAFFE")
    return root


def expw(root, codes=range(7)):
    """Photographs of 40 x 30 pixels with a bright face at top 4, left 10, 12 x 12 large."""
    lines = []
    for number, code in enumerate(codes):
        name = f"sad_boy_{number}.jpg"
        photograph = np.zeros((30, 40), np.uint8)
        photograph[4:16, 10:22] = 240
        (root / "image" / "origin").mkdir(parents=True, exist_ok=True)
        Image.fromarray(photograph).save(root / "image" / "origin" / name, quality=100)
        lines.append(f"{name} 0 4 10 22 16 {10.5 * number} {code}")
    write(root / "label" / "label.lst", *lines)
    return root


def affectnet(root, codes=range(11)):
    header = (
        "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
        "valence,arousal"
    )
    for table in ("training.csv", "validation.csv"):
        lines = [header]
        for number, code in enumerate(codes):
            name = f"{100 + number}/{table[0]}{number:03d}.jpg"
            lines.append(f"{name},3,4,8,6,1.5;2.5;3.5;4.5,{code},-0.1,0.2")
            draw(root / "Manually_Annotated_Images" / name, size=(30, 20))
        write(root / table, *lines)
    return root


def affectnet_newer(root, codes=range(8)):
    for part in ("train_set", "val_set"):
        (root / part / "annotations").mkdir(parents=True)
        for number, code in enumerate(codes):
            np.save(root / part / "annotations" / f"{number}_exp.npy", np.array(str(code)))
            np.save(root / part / "annotations" / f"{number}_val.npy", np.array("-0.5"))
            draw(root / part / "images" / f"{number}.jpg")
    return root


def sfew(root):
    """Labels for training and validation, none for the test."""
    names = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
    for part in ("Train", "Val"):
        for name in names:
            draw(root / part / f"{part}_Aligned_Faces" / name / f"Film_{name}_01.png")
            draw(root / part / "Frames" / name / f"Film_{name}_01.png")
    for number in range(3):
        draw(root / "Test" / "Test_Aligned_Faces" / f"Film_{number}.png")
    return root


@pytest.fixture
def layouts():
    """Functions that write tiny data sets: each takes the folder and gives what to load."""
    return SimpleNamespace(
        draw=draw,
        write=write,
        fer2013=fer2013,
        icml_face_data=icml_face_data,
        fer2013_folders=fer2013_folders,
        ferplus=ferplus,
        raf_db=raf_db,
        ck_plus=ck_plus,
        ck_plus_folders=ck_plus_folders,
        jaffe=jaffe,
        expw=expw,
        affectnet=affectnet,
        affectnet_newer=affectnet_newer,
        sfew=sfew,
    )
