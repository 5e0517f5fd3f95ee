"""Data sets: the faces that come with the package, readers, and label names."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .image_folder import load_image_folder, load_image_paths
from .labels import canonical_label

if TYPE_CHECKING:
    from .affectnet import load_affectnet
    from .ck_plus import load_ck_plus
    from .crops import crop_faces, save_crops
    from .expw import load_expw
    from .facs_faces import load_facs_faces
    from .fer2013 import load_fer2013
    from .ferplus import load_ferplus, majority_label, plurality_label, vote_probabilities
    from .jaffe import load_jaffe
    from .raf_db import load_raf_db
    from .split_folders import load_split_folders
    from .splits import make_split, read_split, write_split

__all__ = [
    "canonical_label",
    "crop_faces",
    "load_affectnet",
    "load_ck_plus",
    "load_expw",
    "load_facs_faces",
    "load_fer2013",
    "load_ferplus",
    "load_image_folder",
    "load_image_paths",
    "load_jaffe",
    "load_raf_db",
    "load_split_folders",
    "majority_label",
    "make_split",
    "plurality_label",
    "read_split",
    "save_crops",
    "vote_probabilities",
    "write_split",
]

# Imported when they are asked for: most users need one of them.
_MODULES = {
    "crop_faces": "crops",
    "load_affectnet": "affectnet",
    "load_ck_plus": "ck_plus",
    "load_expw": "expw",
    "load_facs_faces": "facs_faces",
    "load_fer2013": "fer2013",
    "load_ferplus": "ferplus",
    "load_jaffe": "jaffe",
    "load_raf_db": "raf_db",
    "load_split_folders": "split_folders",
    "majority_label": "ferplus",
    "make_split": "splits",
    "plurality_label": "ferplus",
    "read_split": "splits",
    "save_crops": "crops",
    "vote_probabilities": "ferplus",
    "write_split": "splits",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"adafer.datasets.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'adafer.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
