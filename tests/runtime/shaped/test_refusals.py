"""On machines that cannot shape links, a message names the fix."""

from __future__ import annotations

from benchmarks.runtime.sites import refusal


def test_a_machine_that_has_all_is_not_refused() -> None:
    assert refusal("linux", 0, [], may_install=False) is None


def test_what_can_be_installed_is_not_a_reason_to_refuse() -> None:
    assert refusal("linux", 0, ["iproute2"], may_install=True) is None


def test_each_refusal_says_what_is_needed_and_what_to_do() -> None:
    assert "darwin" in (refusal("darwin", 0, [], may_install=False) or "")
    assert "as root" in (refusal("linux", 1000, [], may_install=True) or "")
    lacking = refusal("linux", 0, ["ethtool", "iproute2"], may_install=False) or ""
    assert "ethtool, iproute2" in lacking
    assert "install them" in lacking
