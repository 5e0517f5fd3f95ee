"""Studies: methods compared on pairs of domains, over seeds, cell by cell."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .plan import StudyPlan
    from .reading import make_plan, read_plan
    from .report import write_reports
    from .run import Study, run_studies

# name -> module that defines it
_EXPORTS = {
    "Study": "run",
    "StudyPlan": "plan",
    "make_plan": "reading",
    "read_plan": "reading",
    "run_studies": "run",
    "write_reports": "report",
}

__all__ = ["Study", "StudyPlan", "make_plan", "read_plan", "run_studies", "write_reports"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"adafer.study.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'adafer.study' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
