"""Entry points: ours pass their own check suites, strangers' faults are ours to report."""

from __future__ import annotations

from importlib import metadata

import pytest

from aicsched import plugins, testing
from aicsched.errors import PluginError
from aicsched.plugins import load_plugin, plugin_names
from aicsched.signals.carbon.sample import SampleCarbon


@pytest.mark.parametrize("name", plugin_names("aicsched.policies"))
def test_our_policies_pass_the_suite(name: str) -> None:
    testing.check_policy(load_plugin("aicsched.policies", name))


def test_the_sample_source_passes_the_suite() -> None:
    testing.check_source(load_plugin("aicsched.carbon_sources", "sample")())


def test_each_group_has_plugins_of_ours() -> None:
    assert {"sample", "file"} <= set(plugin_names("aicsched.carbon_sources"))
    assert {"ridge", "seasonal"} <= set(plugin_names("aicsched.forecasters"))
    assert {"no_wait", "lowest_slot", "lowest_window"} <= set(plugin_names("aicsched.policies"))


def test_unknown_groups_and_names_get_suggestions() -> None:
    with pytest.raises(PluginError, match=r"did you mean aicsched\.forecasters"):
        plugin_names("aicsched.forecaster")
    with pytest.raises(PluginError, match="did you mean ridge"):
        load_plugin("aicsched.forecasters", "rigde")


def test_a_plugin_that_fails_to_load_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = metadata.EntryPoint(name="broken", value="no_such_module:Thing", group="aicsched.forecasters")
    monkeypatch.setattr(plugins, "_entry_points", lambda _group: {"broken": broken})
    with pytest.raises(PluginError, match=r"'broken' \(no_such_module:Thing\) can't be loaded"):
        load_plugin("aicsched.forecasters", "broken")


class _Leaky(SampleCarbon):
    def read(self, zone: str, window: object = None) -> object:  # type: ignore[override]
        return super().read("no" if zone == "no-such-zone-anywhere" else zone, None)


def test_the_suites_can_fail() -> None:
    with pytest.raises(AssertionError, match="exactly that window"):
        testing.check_source(_Leaky())  # type: ignore[arg-type]
