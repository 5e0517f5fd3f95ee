"""Pages to look at: the report of a model, and a local page to drop pictures on."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import write_report

# name -> module that defines it
_EXPORTS = {"write_report": "report"}

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"adafer.pages.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'adafer.pages' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
