"""What an API server's refusals and silences mean, in words that name the right which is missing."""

from __future__ import annotations

from aicsched.errors import AicschedError, ConfigError, SourceUnavailable

__all__ = ["fault_of"]


def fault_of(error: Exception, where: str, *, doing: str, grant: str) -> AicschedError:
    """Put a failed request into words.

    Parameters
    ----------
    error : Exception
        Of the client: with the attribute ``status`` where the server answered.
    where : str
        What was asked for: ``"kubernetes: pods"``.
    doing : str
        What failed: ``"be listed and watched"``.
    grant : str
        The rights that this takes: ``"get, list and watch on pods by a ClusterRole"``.

    Returns
    -------
    AicschedError
        A `ConfigError` where nothing changes until somebody acts, else `SourceUnavailable`.

    Examples
    --------
    >>> print(fault_of(OSError(), "kubernetes: pods", doing="be listed", grant="list on pods"))
    kubernetes: pods: the API server can't be reached (OSError); it is asked again
    """
    status = getattr(error, "status", None)
    if isinstance(error, AicschedError):
        return error
    if status == 401:
        return ConfigError(f"{where}: the token or certificate is refused (401)", hint="renew it", value=401)
    if status == 403:
        return ConfigError(f"{where} may not {doing} (403)", hint=f"grant {grant}", value=403)
    if status == 404:
        hint = "check the address: it is no API server, or one before Kubernetes 1.21"
        return ConfigError(f"{where} are not known there (404)", hint=hint, value=404)
    what = f"answered {status}" if status else f"can't be reached ({type(error).__name__})"
    return SourceUnavailable(f"{where}: the API server {what}", hint="it is asked again", value=status)
