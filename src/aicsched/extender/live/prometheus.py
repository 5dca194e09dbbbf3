"""The Prometheus that settings name, with the token that its file holds now.

A cluster renews the tokens that it mounts, some within the hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aicsched.errors import ConfigError
from aicsched.signals.prometheus.read import PrometheusTelemetry
from aicsched.signals.prometheus.server import PrometheusServer
from aicsched.signals.transport import Secret, Tls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aicsched.config.extender import ExtenderSettings
    from aicsched.domain.telemetry import Telemetry
    from aicsched.signals.clock import Clock
    from aicsched.slots import SlotGrid

__all__ = ["NodeHistory", "SettledPrometheus"]


class NodeHistory(Protocol):
    """Tells what nodes did, slot by slot."""

    def last_slots(self, count: int, step_s: int) -> SlotGrid:
        """Return the newest slots that are over."""
        ...

    def read(self, window: SlotGrid, fields: Iterable[str] = ()) -> Telemetry:
        """Return what was measured in some slots."""
        ...


class SettledPrometheus:
    """Node telemetry as the table ``[extender]`` says.

    Parameters
    ----------
    settings : ExtenderSettings
        With an address.
    clock : Clock
        What tells the time.

    Raises
    ------
    ConfigError
        The address or a file can't be used.
    """

    def __init__(self, settings: ExtenderSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._token = self._read_token()
        self._history = self._made()

    def last_slots(self, count: int, step_s: int) -> SlotGrid:
        """Return the newest slots that are over.

        Parameters
        ----------
        count : int
            How many.
        step_s : int
            How long each is [s].

        Returns
        -------
        SlotGrid
            By the server's clock.
        """
        return self._current().last_slots(count, step_s)

    def read(self, window: SlotGrid, fields: Iterable[str] = ()) -> Telemetry:
        """Return what was measured.

        Parameters
        ----------
        window : SlotGrid
            Which slots.
        fields : iterable of str
            Arrays to have beside CPU, network and memory.

        Returns
        -------
        Telemetry
            As `PrometheusTelemetry.read` has it.
        """
        return self._current().read(window, fields)

    def _current(self) -> PrometheusTelemetry:
        token = self._read_token()
        if token != self._token:
            self._token = token
            self._history = self._made()
        return self._history

    def _made(self) -> PrometheusTelemetry:
        secret = None if self._token is None else Secret(self._token)
        tls = Tls(ca_file=self._settings.prometheus_ca_file)
        address = self._settings.prometheus or ""
        return PrometheusTelemetry(PrometheusServer(address, token=secret, tls=tls, clock=self._clock))

    def _read_token(self) -> str | None:
        path = self._settings.prometheus_token_file
        if path is None:
            return None
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the file of a token, '{path}', can't be read ({type(error).__name__})"
            raise ConfigError(msg, hint="check the path and its rights", value=str(path)) from None
