"""A client of a cluster, by a kubeconfig or by what a pod is given."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from aicsched.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["connect"]


def connect(*, kubeconfig: Path | None = None, context: str | None = None) -> Any:  # noqa: ANN401 - no types
    """Make a client of a cluster.

    Parameters
    ----------
    kubeconfig : Path, optional
        By default ``$KUBECONFIG``, ``~/.kube/config``, or what a pod is given.
    context : str, optional
        By default the file's current one.

    Returns
    -------
    kubernetes.client.ApiClient
        It sends each request once: waits and tries are the watch's.

    Raises
    ------
    ConfigError
        There is no such file or context.
    """
    from kubernetes import client, config  # noqa: PLC0415 - 126 MB and 0.8 s, for those who need it

    settings = client.Configuration()
    try:
        try:
            config.load_kube_config(
                config_file=None if kubeconfig is None else str(kubeconfig),
                context=context,
                client_configuration=settings,
            )
        except config.ConfigException:
            if kubeconfig is not None or context is not None:
                raise
            config.load_incluster_config(client_configuration=settings)
    except Exception as error:  # of what reads files: YAML, certificates, plug-ins that log in
        msg = f"there is no cluster to reach ({error})"
        raise ConfigError(msg, hint=_contexts(config, kubeconfig, context), value=context) from error
    settings.retries = False
    return client.ApiClient(settings)


def _contexts(config: Any, kubeconfig: Path | None, context: str | None) -> str:  # noqa: ANN401 - a module
    hint = "name a kubeconfig, or run within a cluster"
    with contextlib.suppress(Exception):
        file = None if kubeconfig is None else str(kubeconfig)
        known = [each["name"] for each in config.list_kube_config_contexts(config_file=file)[0]]
        hint = did_you_mean(context, known) if context else hint
    return hint
