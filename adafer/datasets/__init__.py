"""Data sets: the faces that come with the package, readers, and label names."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .image_folder import load_image_folder, load_image_paths
from .labels import canonical_label

if TYPE_CHECKING:
    from .facs_faces import load_facs_faces

__all__ = ["canonical_label", "load_facs_faces", "load_image_folder", "load_image_paths"]


def __getattr__(name: str) -> Any:
    if name == "load_facs_faces":
        return import_module("adafer.datasets.facs_faces").load_facs_faces
    raise AttributeError(f"module 'adafer.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
