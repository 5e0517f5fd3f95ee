"""What the functions of studies take, judged: every error names the argument."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .plan import StudyPlan

__all__ = ["judge_base", "judge_name", "judge_paths", "judge_plans"]


def judge_name(name: Any) -> None:
    """Refuse what cannot be the name of result files.

    Parameters
    ----------
    name : object

    Raises
    ------
    ValueError, TypeError
        If it is no name, or has folders in it.
    """
    if not isinstance(name, str) or not name or Path(name).name != name or "\0" in name:
        raise ValueError(f"name must be one of files, without folders; got {name!r}.")


def judge_paths(paths: Any) -> None:
    """Refuse what are no values of variables.

    Parameters
    ----------
    paths : object

    Raises
    ------
    ValueError, TypeError
        If they are no paths by name.
    """
    right = isinstance(paths, Mapping) and all(
        isinstance(key, str) and isinstance(value, str | os.PathLike)
        for key, value in paths.items()
    )
    if not right:
        raise ValueError(f"paths must be {{'NAME': path, ...}}; got {paths!r}.")


def judge_base(base: Any) -> None:
    """Refuse what are no parameters.

    Parameters
    ----------
    base : object

    Raises
    ------
    ValueError, TypeError
        If they are no values by name.
    """
    if not isinstance(base, Mapping) or not all(isinstance(key, str) for key in base):
        raise ValueError(f"base must be {{'parameter': value, ...}}; got {base!r}.")


def judge_plans(plans: Any) -> None:
    """Refuse what are no plans.

    Parameters
    ----------
    plans : object

    Raises
    ------
    ValueError, TypeError
        If they are no list of plans, or none.
    """
    several = isinstance(plans, Sequence) and not isinstance(plans, str)
    if not several or not all(isinstance(plan, StudyPlan) for plan in plans):
        raise TypeError(
            f"plans must be a list of StudyPlan; got {str(plans)[:80]!r}. Make them by read_plan."
        )
    if not plans:
        raise ValueError("plans is empty; expected one plan or more.")
