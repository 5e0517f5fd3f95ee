"""Where cells run: in processes of this machine, or on a cluster of dask or Ray."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from joblib import parallel_config

__all__ = ["on_cluster"]

_DASK = ("tcp://", "tls://", "ws://", "wss://")


@contextlib.contextmanager
def on_cluster(address: str | None) -> Iterator[None]:
    """Let joblib inside send its work to a cluster.

    Parameters
    ----------
    address : str or None
        Address of a dask scheduler, such as ``"tcp://10.0.0.1:8786"``; ``"ray"``
        for the Ray cluster that this machine is part of; None for this machine.

    Raises
    ------
    ValueError
        If the address is neither.
    ImportError
        If dask or Ray is not installed.
    OSError
        If there is no such cluster.
    """
    if address is None:
        yield
        return
    if address.startswith(_DASK):
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError(_missing(address, "dask[distributed]")) from error
        client = Client(address, set_as_default=False)
        with client, parallel_config("dask", client=client):
            yield
        return
    if address != "ray":
        raise ValueError(
            f"The cluster is {address!r}; expected the address of a dask scheduler, such as "
            "'tcp://10.0.0.1:8786', or 'ray'."
        )
    try:
        import ray
        from ray.util.joblib import register_ray
    except ImportError as error:
        raise ImportError(_missing(address, "ray")) from error
    found = ray.is_initialized()
    if not found:
        ray.init(address="auto", log_to_driver=False)
    register_ray()
    try:
        # a killed worker is started anew, and what it had begun is computed again
        again = {"max_restarts": 3, "max_task_retries": 3}
        with parallel_config("ray", ray_remote_args=again):
            yield
    finally:
        if not found:
            ray.shutdown()


def _missing(address: str, package: str) -> str:
    return (
        f"The cluster {address!r} needs the package {package}, which is not installed. Install it "
        f'here and on all workers: pip install "adafer[cluster]".'
    )
