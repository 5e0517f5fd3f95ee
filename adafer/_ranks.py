"""Which of the processes that torchrun started this is; torch is not imported for it."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import dataclass

__all__ = ["Rank", "is_writer", "this_rank"]


@dataclass(frozen=True)
class Rank:
    """Place of this process among those that train one network together.

    Attributes
    ----------
    index, count : int
        Among all processes, on all machines.
    local_index, local_count : int
        Among the processes of this machine.
    n_machines : int
    """

    index: int = 0
    count: int = 1
    local_index: int = 0
    local_count: int = 1
    n_machines: int = 1


def this_rank() -> Rank:
    """Tell the place that torchrun gave to this process.

    Returns
    -------
    Rank
        Alone, unless torchrun started more than one process. Workers that such a
        process starts in turn (of joblib, for example) inherit its environment
        but are no part of the group, and count as alone.

    Examples
    --------
    >>> from adafer._ranks import this_rank
    >>> this_rank().count
    1
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" not in env or int(env.get("WORLD_SIZE", "1")) == 1:
        return Rank()
    if multiprocessing.current_process().name != "MainProcess":
        return Rank()
    return Rank(
        index=int(env["RANK"]),
        count=int(env["WORLD_SIZE"]),
        local_index=int(env["LOCAL_RANK"]),
        local_count=int(env["LOCAL_WORLD_SIZE"]),
        n_machines=int(env.get("GROUP_WORLD_SIZE", "1")),
    )


def is_writer() -> bool:
    """Whether this process writes files and shows progress: the first one, or one alone."""
    return this_rank().index == 0
