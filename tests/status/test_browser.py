# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser: headless Chromium, driven by Playwright."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from ksd_ddns.status import About
from tests.status.site import Site, fleet, underscores
from tests.zone.build import REVERSE, a, node, vmi
from tests.zone.reconciler.model import Server

SECONDS = 10.0
"""Timeout for what the browser should do at once: other tests use the processor too."""

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield Chromium of this system. Without one the tests fail: scripts/setup installs it."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "no Chromium: run scripts/setup chromium"
    with sync_playwright() as playwright:
        # The sandbox needs privileges that containers do not have. The only page is ours.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Return a function that opens a site in a new context. No page may write to the console or break its policy."""
    problems: list[str] = []
    with ExitStack() as stack:

        def open_page(site: Site, path: str = "", **settings: object) -> Page:
            stack.enter_context(site)
            context: BrowserContext = browser.new_context(**settings)  # type: ignore[arg-type]
            stack.callback(context.close)
            context.set_default_timeout(1000 * SECONDS)
            page = context.new_page()
            page.on("console", lambda message: problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(site.url + path)
            return page

        expect.set_options(timeout=1000 * SECONDS)
        yield open_page
    # The browser itself reports a server that does not answer.
    assert [text for text in problems if "503 (Service Unavailable)" not in text] == []


def mixed() -> Site:
    """Return a site with names that are published, refused, in conflict, held and skipped."""
    server = Server(node("web.prod.vm.example.", a("10.9.9.9")))
    server.refuses_name = underscores
    site = Site(server, Server(zone=REVERSE))
    db = vmi("db", "prod", {"net1": ["10.1.0.9", "2001:db8:1::9"], "vlan_12": ["10.1.2.7"]}, hostnames=["web", "a b"])
    site.report(db, *(vmi(f"edge-{number}", "ops", {"vlan_12": [f"10.1.64.{number}"]}) for number in range(1, 9)),
                *fleet(60), seconds=10)  # fmt: skip
    return site


def keys(page: Page) -> list[str]:
    """Return the VMs in the table."""
    return page.locator("#vms tbody th").all_inner_texts()


def test_search_as_you_type(visit: Visit) -> None:
    page = visit(mixed())
    before = keys(page)
    page.get_by_role("searchbox").press_sequentially("vm-00007")
    expect(page.locator("#vms tbody tr")).to_have_count(1)
    assert keys(page) == ["team-07/vm-00007"]
    expect(page.locator("#problems")).to_be_hidden()
    expect(page.locator("#found")).to_have_text("1 VM found")
    assert page.url.endswith("?q=vm-00007"), "the result can be shared"
    page.keyboard.press("Escape")
    expect(page.locator("#problems")).to_be_visible()
    assert keys(page) == before


def test_a_search_that_finds_nothing(visit: Visit) -> None:
    page = visit(mixed())
    page.get_by_role("searchbox").fill("<b>gone</b>")
    expect(page.locator("#vms")).to_contain_text("No VM, name or address matches <b>gone</b>")
    expect(page.get_by_role("link", name="Explain")).to_have_count(1)


def test_the_slash_key_leads_to_the_search(visit: Visit) -> None:
    page = visit(mixed())
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("10.1.0.9")
    expect(page.locator("#vms tbody tr")).to_have_count(2)
    assert set(keys(page)) == {"prod/db", "team-08/vm-00008"}
    page.keyboard.type("/")
    expect(page.get_by_role("searchbox")).to_have_value("10.1.0.9/")


def test_filters_orders_and_pages(visit: Visit) -> None:
    page = visit(mixed())
    page.get_by_role("link", name="Refused 9").click()
    expect(page.locator("#vms tbody tr")).to_have_count(9)
    expect(page.locator("#vms-h")).to_be_focused()
    assert "prod/db" in keys(page)
    page.get_by_role("link", name="Published 60").click()
    expect(page.locator(".pages")).to_contain_text("Page 1 of 3")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pages")).to_contain_text("Page 2 of 3")
    page.get_by_role("link", name="VM", exact=True).click()
    expect(page.locator("#vms thead th").first).to_have_attribute("aria-sort", "ascending")
    page.go_back()
    expect(page.locator(".pages")).to_contain_text("Page 2 of 3")
    page.get_by_role("link", name="All 69").click()
    expect(page.locator("#problems")).to_be_visible()


def test_the_page_refreshes_when_it_is_left_open(visit: Visit) -> None:
    site = Site()
    site.report(*fleet(2))
    page = visit(site)
    page.clock.install()
    page.reload()
    site.report(*fleet(3))
    page.clock.run_for(11_000)
    expect(page.locator("#vms tbody tr")).to_have_count(3)
    page.get_by_role("button", name="Pause").click()
    site.report(*fleet(4))
    page.clock.run_for(30_000)
    assert len(keys(page)) == 3
    page.get_by_role("button", name="Resume").click()
    page.evaluate("document.activeElement.blur()")
    page.clock.run_for(11_000)
    expect(page.locator("#vms tbody tr")).to_have_count(4)


def test_a_controller_that_does_not_answer(visit: Visit) -> None:
    site = Site()
    site.report(*fleet(2))
    page = visit(site)
    page.clock.install()
    page.reload()
    page.route("**/*", lambda route: route.fulfill(status=503, body="gone"))
    page.clock.run_for(11_000)
    expect(page.locator(".asof")).to_contain_text("No answer since")
    assert page.title() == "No answer · ksd-ddns"
    page.unroute("**/*")
    page.clock.run_for(11_000)
    expect(page.locator(".asof")).to_contain_text("As of")


def test_an_explanation_refreshes_when_it_is_left_open(visit: Visit) -> None:
    site = Site()
    site.report(vmi("db", "prod", {"net1": ["10.1.0.9"]}))
    page = visit(site, "explain?vmi=prod/db")
    page.clock.install()
    page.reload()
    site.report(vmi("db", "prod", {"net1": ["10.1.0.9"], "net2": ["10.1.1.9"]}))
    page.clock.run_for(11_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("prod/db: 3 of 3 names are in DNS")
    expect(page.locator(".asof")).to_contain_text("As of")


def test_the_page_of_a_leader_that_is_now_a_standby(visit: Visit) -> None:
    site = Site(about=About(leader="pod-a"))
    site.report(*fleet(2))
    page = visit(site)
    site.standby("pod-b")
    page.get_by_role("searchbox").press_sequentially("vm")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Standby")
    expect(page.locator("#vms")).to_have_count(0)


def test_the_footer_is_refreshed_too(visit: Visit) -> None:
    site = Site(about=About(leader="pod-a"))
    site.report(*fleet(2))
    page = visit(site)
    page.clock.install()
    page.reload()
    expect(page.locator("footer")).to_contain_text("pod-a (this replica)")
    site.standby("pod-b")
    page.clock.run_for(11_000)
    expect(page.get_by_role("heading", level=1)).to_contain_text("Standby")
    expect(page.locator("footer")).to_contain_text("pod-b")
    expect(page.locator("footer")).not_to_contain_text("this replica")


def test_it_can_be_read_without_javascript(visit: Visit) -> None:
    page = visit(mixed(), java_script_enabled=False)
    page.get_by_role("searchbox").fill("vm-00007")
    page.keyboard.press("Enter")
    expect(page.locator("#vms tbody th")).to_have_text(["team-07/vm-00007"])
    page.get_by_role("link", name="Show all").click()
    page.get_by_role("link", name="Refused 9").click()
    expect(page.locator("#vms tbody th")).to_have_count(9)
    page.get_by_role("link", name="All 69").click()
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".pages")).to_contain_text("Page 2 of")
    page.locator(".brand").click()
    expect(page.locator(".pages")).to_contain_text("Page 1 of")
    page.locator("summary").first.click()
    expect(page.locator("details").first.get_by_role("link", name="ops/edge-1")).to_be_visible()


def test_names_of_others_stay_text(visit: Visit) -> None:
    site = Site()
    hostile = '<img src=x onerror="alert(1)">'
    site.report(vmi(hostile, "prod", {hostile: ["10.1.0.1"]}, hostnames=[hostile]), *fleet(2))
    page = visit(site)
    expect(page.locator("#vms")).to_contain_text(hostile)
    assert page.locator("img").count() == 0
    page.get_by_role("searchbox").fill(hostile)
    expect(page.locator("#vms tbody tr")).to_have_count(1)
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 700, 1280, 3840])
@pytest.mark.parametrize("state", ["mixed", "empty", "standby", "down"])
def test_nothing_overflows(visit: Visit, state: str, width: int, scheme: str) -> None:
    site = Site(about=About(choice=(("LABEL_SELECTOR", "x" * 200),))) if state == "empty" else Site()
    if state == "mixed":
        site = mixed()
    elif state == "standby":
        site.standby("leader-" * 30)
    else:
        site.report(*(fleet(3) if state == "down" else []))
        site.main.server.down = state == "down"
        site.run(60)
    page = visit(site, viewport={"width": width, "height": 900}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (color == "rgb(250, 250, 248)") is (scheme == "light")


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("path", ["explain?vmi=prod/db", "explain?vmi=prod/gone", "explain?name=web.prod"])
def test_a_click_explains(visit: Visit, path: str, width: int) -> None:
    page = visit(mixed(), viewport={"width": width, "height": 800})
    page.locator("#vms").get_by_role("link", name="prod/db").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("prod/db: 4 of 6 names are in DNS")
    page.goto(page.url.partition("explain")[0] + path)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.keyboard.press("/")
    page.keyboard.type("vm-00007")
    page.keyboard.press("Enter")
    expect(page.locator("#vms tbody tr")).to_have_count(1)


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    page = visit(mixed())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.textContent.trim().split(' ')[0]"))
    assert {"Pause", "9", "Refused", "VM", "State", "prod/db"} <= seen


def test_a_screen_reader_gets_tables_states_and_headings(visit: Visit) -> None:
    page = visit(mixed(), viewport={"width": 360, "height": 700})
    expect(page.get_by_role("heading", level=1)).to_have_text("9 names refused, 1 conflict")
    expect(page.get_by_role("heading", level=2)).to_have_text(["Problems, by cause", "VMs", "Recent changes"])
    table = page.get_by_role("table", name="VMs, their state")
    row = table.get_by_role("row").filter(has_text="prod/db")
    expect(row.get_by_role("rowheader")).to_have_text("prod/db")
    expect(row.get_by_role("cell").first).to_contain_text("refused")
    expect(page.get_by_role("navigation", name="Filter by state")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "en"
