"""Checkpoints on disk: folders of tensors (safetensors) and JSON, written whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ._files import check_output_folder, new_folder, sha256, write_tensors
from ._fit_identity import differences
from ._parts import remove_abandoned, take_lock
from ._versions import versions

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Checkpoints", "State", "check_folder", "refuse_other_fit"]

FORMAT = "adafer-checkpoint"
FORMAT_VERSION = 1
TENSORS, VALUES, SUMS = "tensors.safetensors", "state.json", "SHA256SUMS"
_NAME = re.compile(r"stage-(\d{1,4})-epoch-(\d{1,9})")
_LOCK = ".lock"
_KEPT = 2
# a limit that keeps a wrong file from asking for all the memory
_MAX_JSON_BYTES = 256 * 2**20


class State(NamedTuple):
    """What training goes on from.

    Attributes
    ----------
    tensors : dict of str -> Tensor
        On the CPU.
    values : dict
        What JSON holds.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


class _Damaged(Exception):
    """A checkpoint whose files are missing or not what was written."""


class Checkpoints:
    """Checkpoints of one fit in a folder; used by one process at a time.

    After each epoch of each stage a folder ``stage-S-epoch-E`` is written under a
    temporary name, brought to the disk and renamed; of each stage the last two
    are kept. One that is damaged is passed over for the one before it.

    Parameters
    ----------
    folder : pathlib.Path
    fit : dict
        What fit this is, as `adafer._fit_identity.identify` says it.
    seed : int
        What all random numbers of the fit come from; that of the checkpoints,
        where there are some, takes its place.
    resume : {"auto", "never"}

    Attributes
    ----------
    seed : int

    Raises
    ------
    ValueError
        If the folder holds checkpoints of another fit, or of another format.
    OSError
        If it cannot be written to; a BlockingIOError if another fit has it.
    """

    def __init__(self, folder: Path, fit: dict[str, Any], seed: int, resume: str):
        self.folder, self.fit, self.seed = check_folder(folder), fit, seed
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock(self.folder)
        try:
            remove_abandoned(self.folder)
            if resume == "never":
                for name in self._names():
                    shutil.rmtree(self.folder / name)
            newest = _newest(self.folder)
            if newest is not None:
                _refuse_other(newest, fit, self.folder)
                self.seed = int(newest["seed"])
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others use the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _names(self, stage: int | None = None) -> list[str]:
        return [name for name in _names(self.folder) if stage in (None, _place(name)[0])]

    def read(self, stage: int) -> tuple[int, State] | None:
        """Read the last good checkpoint of a stage.

        Parameters
        ----------
        stage : int

        Returns
        -------
        found : (int, State) or None
            How many epochs of the stage are done, and the state after them.

        Warns
        -----
        UserWarning
            If one is passed over since it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        for name in reversed(self._names(stage)):
            try:
                description = _read(self.folder / name)
                path = self.folder / name / TENSORS
                _check_sum(path, description["sums"])
                tensors = load_file(path)
            except (_Damaged, SafetensorError) as error:
                _tell_damage(self.folder / name, error)
                continue
            return _place(name)[1], State(tensors, description["values"])
        return None

    def write(self, stage: int, epoch: int, state: State) -> None:
        """Write a checkpoint, and remove what it makes superfluous.

        Parameters
        ----------
        stage : int
        epoch : int
            How many epochs of the stage are done.
        state : State

        Warns
        -----
        UserWarning
            If it cannot be written: the fit need not fail for that.
        """
        from safetensors import SafetensorError

        name = f"stage-{stage}-epoch-{epoch:04d}"
        description = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "versions": versions(),
            "fit": self.fit,
            "seed": self.seed,
            "stage": stage,
            "epoch": epoch,
            "values": state.values,
        }
        try:
            with new_folder(self.folder / name) as folder:
                write_tensors(state.tensors, folder / TENSORS, {"format": FORMAT})
                text = json.dumps(description, indent=1, default=_plain)
                (folder / VALUES).write_text(text + "\n", encoding="utf-8")
                # in the form of sha256sum
                sums = [f"{sha256(folder / part)}  {part}\n" for part in (TENSORS, VALUES)]
                (folder / SUMS).write_text("".join(sums), encoding="ascii")
        except (OSError, SafetensorError) as error:
            kept = self._names(stage)
            warnings.warn(
                f"The checkpoint of epoch {epoch} could not be written to {str(self.folder)!r}: "
                f"{error}. The fit goes on; if it is interrupted, it resumes from "
                f"{kept[-1] if kept else 'the start of this stage'}. Make room, or see to the "
                "permissions.",
                stacklevel=2,
            )
            return
        for old in [one for one in self._names(stage) if _place(one)[1] < epoch][: 1 - _KEPT]:
            shutil.rmtree(self.folder / old, ignore_errors=True)


def check_folder(folder: Path) -> Path:
    """Make sure that checkpoints can be written into a folder; nothing is made.

    Raises
    ------
    OSError
        With the name of the parameter, `checkpoint_dir`.
    """
    try:
        return check_output_folder(folder)
    except OSError as error:
        raise type(error)(f"checkpoint_dir: {error}") from error


def refuse_other_fit(folder: Path, fit: dict[str, Any]) -> None:
    """Refuse checkpoints of another fit by what is known of it before data are read.

    Parameters
    ----------
    folder : pathlib.Path
        Nothing is changed in it.
    fit : dict
        As for `Checkpoints`, without "data".

    Raises
    ------
    ValueError
        As `Checkpoints`.
    OSError
        If the folder cannot be written to.
    """
    found = _newest(check_folder(folder))
    if found is not None:
        known = {key: value for key, value in found["fit"].items() if key != "data"}
        _refuse_other({**found, "fit": known}, fit, folder)


def _names(folder: Path) -> list[str]:
    """Names of checkpoints, in the order in which they were made."""
    with contextlib.suppress(FileNotFoundError):
        return sorted((n for n in os.listdir(folder) if _NAME.fullmatch(n)), key=_place)
    return []


def _place(name: str) -> tuple[int, int]:
    """Stage and epoch of a checkpoint."""
    found = _NAME.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2])


def _newest(folder: Path) -> dict[str, Any] | None:
    """Read what the newest checkpoint says of its fit; None if none can be read."""
    for name in reversed(_names(folder)):
        with contextlib.suppress(_Damaged):  # who reads its tensors tells of it
            return _read(folder / name)
    return None


def _read(folder: Path) -> dict[str, Any]:
    """Read a checkpoint but for its tensors."""
    sums = {}
    try:
        for line in (folder / SUMS).read_text(encoding="ascii").splitlines():
            digest, _, part = line.partition("  ")
            sums[part] = digest
    except (OSError, ValueError) as error:
        raise _Damaged(f"{SUMS} cannot be read: {error}") from error
    _check_sum(folder / VALUES, sums)
    if (folder / VALUES).stat().st_size > _MAX_JSON_BYTES:
        raise ValueError(f"{folder / VALUES} is too large for a checkpoint. Delete {folder}.")
    try:
        found = json.loads((folder / VALUES).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _Damaged(f"{VALUES} is no JSON: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(
            f"{folder} holds no checkpoint of adafer, expected format {FORMAT!r}. Choose another "
            "checkpoint_dir."
        )
    if found.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{folder} has format version {found.get('format_version')!r}; this adafer reads "
            f"version {FORMAT_VERSION}. Use the adafer that wrote it, or resume='never' to start "
            "anew."
        )
    wanted = {"fit": dict, "seed": int, "values": dict, "versions": dict}
    if any(not isinstance(found.get(name), kind) for name, kind in wanted.items()):
        raise ValueError(f"{folder / VALUES} lacks an entry. Delete {folder}.")
    return {**found, "sums": sums}


def _check_sum(path: Path, sums: Mapping[str, str]) -> None:
    try:
        found = sha256(path)
    except OSError as error:
        raise _Damaged(f"{path.name} cannot be read: {error}") from error
    if found != sums.get(path.name):
        raise _Damaged(f"{path.name} is not what was written: its SHA-256 is another")


def _tell_damage(folder: Path, error: Exception) -> None:
    warnings.warn(
        f"The checkpoint {str(folder)!r} is damaged and is passed over for the one before it "
        f"({error}).",
        stacklevel=3,
    )


def _refuse_other(found: Mapping[str, Any], fit: dict[str, Any], folder: Path) -> None:
    """Refuse to go on from a checkpoint of another fit."""
    here = {**versions(), "adafer": fit["adafer"]}
    others = differences(found["fit"], json.loads(json.dumps(fit, default=_plain)))
    if others:
        raise ValueError(
            f"checkpoint_dir={str(folder)!r} holds checkpoints of another fit: "
            f"{'; '.join(others)}. Give what was given then to go on with it; or another "
            "checkpoint_dir; or resume='never' to delete them and start anew. Under "
            "cross-validation and grid search put '{fit}' into checkpoint_dir, as in "
            "'checkpoints/{fit}', for a folder per fit."
        )
    libraries = [
        f"{name} {found['versions'][name]} (here {here[name]})"
        for name in ("torch", "numpy")
        if found["versions"].get(name, here[name]) != here[name]
    ]
    if libraries:
        warnings.warn(
            f"The checkpoints in {str(folder)!r} were made with {', '.join(libraries)}: the fit "
            "goes on, but need not end with the bits of one that was not interrupted.",
            stacklevel=3,
        )


def _plain(value: Any) -> Any:
    """Turn numbers of numpy into Python's, for JSON."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be kept in a checkpoint")


def _lock(folder: Path) -> int:
    """Take the folder for this process, where the file system has locks."""
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if not take_lock(handle, 0):
        os.close(handle)
        raise BlockingIOError(
            f"checkpoint_dir={str(folder)!r} is in use by another fit that runs now. Wait for it, "
            "or give another folder; in searches with n_jobs put '{fit}' into checkpoint_dir for "
            "a folder per fit."
        )
    return handle
