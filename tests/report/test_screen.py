"""The report as people see it, in a real browser at the size of a phone and of a desk; leaves pictures in build/report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linnet.decisions.report import html
from tests.report.browser import INSTALL, Browser
from tests.report.documents import BIAS, DRIFTED, EVIL, HOSTILE, NO_DATA, NO_LABELS, QUIET

ROOT = Path(__file__).parents[2]
PHONE, DESK = (390, 844), (1280, 800)
PAGES = {
    "drifted": DRIFTED,
    "quiet": QUIET,
    "no-data": NO_DATA,
    "no-labels": NO_LABELS,
    "bias": BIAS,
    "hostile": HOSTILE,
}
WIDEST = "Math.max(...[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect().right))"
# WCAG 2 contrast of each text with the page's background; every text lies on it.
CONTRAST = """(() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
      .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] };
  const page = light(getComputedStyle(document.body).backgroundColor);
  const said = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  const texts = [...document.querySelectorAll('main *')].filter(said);
  return texts.map(e => { const ink = light(getComputedStyle(e).color), size = parseFloat(getComputedStyle(e).fontSize);
    return [(Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05), size, e.tagName + ' ' + e.className] });
})()"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


def show(browser: Browser, name: str, size: tuple[int, int], *, scheme: str = "light") -> Path:
    """Write a report to a file and open it."""
    folder = ROOT / "build" / "report"
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / f"{name}.html"
    page.write_text(html(PAGES[name]), encoding="utf-8")
    browser.open(page, *size, scheme=scheme)
    return page


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("name", list(PAGES))
def test_no_report_is_wider_than_the_screen(browser: Browser, name: str, size: tuple[int, int]) -> None:
    page = show(browser, name, size)

    root = "document.documentElement."
    assert browser.ask(root + "clientWidth") == size[0]
    assert browser.ask(root + "scrollWidth") <= size[0]
    assert browser.ask(WIDEST) <= size[0]
    if name != "hostile":  # its page is as long as a page may become
        page.with_name(f"{name}-{size[0]}.png").write_bytes(browser.shot(whole=True))


def test_a_phone_shows_verdict_time_run_and_release_without_scrolling(browser: Browser) -> None:
    show(browser, "drifted", PHONE)

    seen = browser.ask(
        "[...document.querySelectorAll('h1, header p, header a')].filter(e => e.getBoundingClientRect().bottom <= innerHeight)"
        ".map(e => e.innerText)"
    )
    assert seen[1] == "The live data left their baseline"
    assert {"Violation, severity High", "2026-11-21 09:00 to 10:00 UTC", "version 7"} <= set(seen)
    assert "run r-20261115-4f2a91c07b" in seen
    assert browser.ask("document.querySelector('ul li').getBoundingClientRect().top") < PHONE[1]


def test_the_bars_on_the_screen_are_as_long_as_their_shares(browser: Browser) -> None:
    show(browser, "drifted", PHONE)

    drawn = browser.ask(
        "[...document.querySelector('figure').querySelectorAll('svg')].map(s => [...s.children].map(r => "
        "r.getBoundingClientRect().width))"
    )
    first = max(DRIFTED["bars"], key=lambda one: one["drift"])
    shares = [[old["share"], new["share"]] for old, new in zip(first["baseline"], first["current"], strict=True)]
    longest = max(width for row in drawn for width in row)
    assert longest > PHONE[0] / 3
    assert [[round(width / longest * 0.3, 2) for width in row] for row in drawn] == shares
    assert browser.ask("getComputedStyle(document.querySelector('rect.b')).fill") != browser.ask(
        "getComputedStyle(document.querySelector('rect.c')).fill"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["drifted", "quiet", "no-labels"])
def test_every_word_is_large_and_dark_enough_to_be_read(browser: Browser, name: str, scheme: str) -> None:
    show(browser, name, PHONE, scheme=scheme)

    texts = browser.ask(CONTRAST)

    assert len(texts) > 10
    assert [text for text in texts if text[0] < 4.5 or text[1] < 12] == []  # WCAG 2 AA


def test_a_report_is_drawn_from_its_own_file_alone(browser: Browser) -> None:
    page = show(browser, "drifted", DESK)

    asked = [
        event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [page.as_uri()]
    assert troubles(browser) == []


def test_hostile_names_run_nothing_and_are_shown_as_they_are(browser: Browser) -> None:
    show(browser, "hostile", PHONE)

    assert browser.ask("window.hacked") is None
    assert browser.ask("document.querySelectorAll('script, img, iframe').length") == 0
    assert EVIL in browser.ask("document.querySelector('h3').innerText + document.querySelector('li').innerText")
    assert troubles(browser) == []


def test_the_same_report_is_the_same_picture_and_another_is_not(browser: Browser) -> None:
    show(browser, "drifted", PHONE)
    first = browser.shot()
    show(browser, "quiet", PHONE)
    other = browser.shot()
    show(browser, "drifted", PHONE)

    assert browser.shot() == first != other
    assert first.startswith(b"\x89PNG")


def test_without_a_browser_the_tests_fail_and_say_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(pytest.fail.Exception, match=INSTALL):
        Browser(tmp_path)


def troubles(browser: Browser) -> list[dict[str, Any]]:
    """Return what the browser complained of: errors, blocked content, dialogs."""
    kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Page.javascriptDialogOpening"}
    return [event for event in browser.events if event["method"] in kinds]
