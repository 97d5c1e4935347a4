"""The page in Chromium: what it shows, by pointer and keyboard, without errors, and axe's rules."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest

pytestmark = pytest.mark.browser

from benchmarks.console.browser import DESKTOP, PHONE, Tab, browser, tab  # noqa: E402
from benchmarks.console.fleet import fleet  # noqa: E402
from benchmarks.console.served import EVERYTHING, MadeUpRights, Served, served  # noqa: E402
from factory import bodies  # noqa: E402

OF_DEFAULT = "token-of-default"
PAGES = {
    "#/services": "table.services tbody tr",
    "#/services/default/labels": "section:has-text('Why this cut') table",
    "#/services/lab/faults": "section:has-text('Why this cut') table",
    "#/pools": ".card",
    "#/pools/factory": ".map-links path",
    "#/tenants": ".tenant",
}


@pytest.fixture(scope="module")
def chromium_() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def live(planned: Any) -> Iterator[Served]:
    """A console over the factory, whose plans are limited by the real time."""
    rights = MadeUpRights({OF_DEFAULT: frozenset({"default"})})
    with served(bodies(planned), rights, planned.clock().wall) as found:
        yield found


@pytest.fixture
def page(chromium_: Any, live: Served) -> Iterator[Tab]:
    with tab(chromium_, live.url) as found:
        yield found
        assert found.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_page_is_without_errors_and_without_violations(
    chromium_: Any, live: Served, size: tuple[int, int], scheme: Literal["light", "dark"]
) -> None:
    with tab(chromium_, live.url, size, scheme) as found:
        found.page.goto(live.url)
        found.page.wait_for_selector("form")
        problems = {"sign in": found.violations()}
        for address, shown in PAGES.items():
            found.open(address)
            found.page.wait_for_selector(shown, state="attached")
            problems[address] = found.violations()
            wide = found.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{address} is {wide} pixels wider than the window"
        assert {address: each for address, each in problems.items() if each} == {}
        assert found.complaints == []


def test_a_token_signs_in_and_is_forgotten_by_signing_out(page: Tab) -> None:
    page.page.goto(page.url)
    page.page.get_by_label("Bearer token").fill(f" {EVERYTHING}\n")
    page.page.get_by_role("button", name="Show my services").click()
    page.page.wait_for_selector("table.services tbody tr")
    kept = "JSON.stringify([{...localStorage}, document.cookie, location.href])"
    assert EVERYTHING not in page.page.evaluate(kept)
    page.page.get_by_role("button", name="Sign out").click()
    page.page.wait_for_selector("form")
    assert page.page.evaluate("sessionStorage.length") == 0


def test_a_wrong_token_is_refused_with_the_reason(chromium_: Any, live: Served) -> None:
    with tab(chromium_, live.url) as found:
        found.page.goto(live.url)
        found.page.get_by_label("Bearer token").fill("wrong")
        found.page.get_by_role("button", name="Show my services").click()
        alert = found.page.get_by_role("alert")
        alert.get_by_text("does not accept the token").wait_for()
        assert found.page.locator("table").count() == 0


def test_services_are_shown_worst_first_and_can_be_searched(page: Tab) -> None:
    page.open()
    names = page.page.locator("table.services tbody th a")
    names.first.wait_for()
    assert names.all_inner_texts() == ["faults", "seals", "labels", "digits", "gauges"]
    page.page.keyboard.press("/")
    page.page.keyboard.type("lab")
    assert names.all_inner_texts() == ["faults", "labels", "gauges"]
    page.page.get_by_role("searchbox").fill("")
    page.page.get_by_role("button", name="2 SLO missed").click()
    assert names.all_inner_texts() == ["faults", "seals"]


def test_a_viewer_of_one_namespace_sees_no_other(page: Tab) -> None:
    page.open(token=OF_DEFAULT)
    page.page.wait_for_selector("table.services tbody tr")
    page.open("#/pools/factory", token=OF_DEFAULT)
    page.page.get_by_text("cannot list pools and nodes").wait_for()
    page.open("#/services/lab/faults", token=OF_DEFAULT)
    page.page.get_by_text("no service lab/faults that you may see").wait_for()
    page.open(token=OF_DEFAULT)
    shown = page.page.locator("table.services tbody th a")
    shown.first.wait_for()
    assert shown.all_inner_texts() == ["seals", "labels", "digits"]


def test_every_service_opens_by_keyboard_alone(page: Tab) -> None:
    page.open()
    page.page.wait_for_selector("table.services tbody tr")
    page.page.get_by_role("link", name="faults").focus()
    page.page.keyboard.press("Enter")
    page.page.wait_for_selector(".entry table")
    assert page.page.evaluate("document.activeElement.id") == "main"
    assert page.page.title() == "lab/faults – Edge console"


def test_the_explanation_says_what_each_alternative_lost_by(page: Tab) -> None:
    page.open("#/services/lab/faults")
    section = page.page.locator("section", has=page.page.get_by_role("heading", name="Why this cut"))
    section.locator("table").wait_for()
    section.get_by_role("button", name="gate", exact=True).click()
    section.get_by_text("the plan uses").wait_for()
    reasons = section.locator("tbody tr:visible td.reason").all_inner_texts()
    assert reasons
    assert all(reasons)


def test_a_slider_shows_what_the_planner_would_do(page: Tab) -> None:
    page.open("#/services/default/labels")
    slider = page.page.get_by_label("Bandwidth to Triton")
    slider.wait_for()
    slider.focus()
    page.page.keyboard.press("Home")
    for _ in range(60):
        page.page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"[\d.]+ Mbit/s", slider.get_attribute("aria-valuetext") or "")
    result = page.page.get_by_role("region", name="Result by entry node")
    result.get_by_role("row", name="gate").get_by_text("final@pool1").wait_for()
    page.page.get_by_role("button", name="As it is").click()
    page.page.get_by_text("Nothing is changed").wait_for()
    assert result.count() == 0


def test_the_map_follows_the_route_of_a_service(page: Tab) -> None:
    page.open("#/pools/factory")
    page.page.wait_for_selector(".map-links path")
    page.page.get_by_label("Follow").select_option("lab/faults")
    page.page.wait_for_selector(".map-links path.on")
    page.page.get_by_role("button", name="gate", exact=False).first.click()
    page.page.get_by_role("heading", name="Stages of").wait_for()
    page.page.get_by_text("Processors").first.wait_for()


def test_a_change_in_the_cluster_appears_without_a_reload(page: Tab, live: Served) -> None:
    page.open()
    row = page.page.get_by_role("row", name="gauges")
    row.wait_for()
    body = live.server.get("InferenceService", "lab", "gauges")
    slo = body["status"]["slo"] | {"attainment": "0.515"}
    live.server.put(body | {"status": body["status"] | {"slo": slo}})
    row.get_by_text("51 %").wait_for()
    live.server.put(body)


def test_of_five_hundred_services_only_rows_that_change_are_replaced(chromium_: Any) -> None:
    with served(fleet(500), MadeUpRights()) as console, tab(chromium_, console.url) as found:
        found.open()
        rows = found.page.locator("table.services tbody tr")
        rows.last.wait_for(state="attached")
        assert rows.count() == 500
        rows.evaluate_all("each => each.forEach(row => row.dataset.old = '1')")
        body = console.server.get("InferenceService", "yard", "digits-2")
        slo = body["status"]["slo"] | {"attainment": "0.515"}
        console.server.put(body | {"status": body["status"] | {"slo": slo}})
        found.page.get_by_text("51 %").first.wait_for(state="attached")
        assert found.page.locator("tbody tr:not([data-old])").count() == 1
        assert found.complaints == []
