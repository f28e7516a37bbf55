# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The site that ``make docs`` has built: its links lead somewhere, and a browser shows it without asking anybody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".work" / "docs"
sys.path.insert(0, str(ROOT / "tests" / "report"))

from browser import Browser, Tab  # noqa: E402


class Page(HTMLParser):
    """Where a page leads, what it loads, and the places in it that can be led to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.links.append(str(given["href"]))
        if tag in ("img", "script", "iframe") and given.get("src"):
            self.loaded.append(str(given["src"]))
        if tag == "link" and given.get("rel") in ("stylesheet", "preload", "icon") and given.get("href"):
            self.loaded.append(str(given["href"]))
        self.places.update(str(given[name]) for name in ("id", "name") if given.get(name))


PAGES = {path: Page(path) for path in sorted(SITE.rglob("*.html"))}


def astray(pages: dict[Path, Page]) -> Iterator[str]:
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file() or (target in pages and unquote(parts.fragment) not in pages[target].places):
                yield f"{path.relative_to(SITE)}: {link}"


def test_every_link_inside_leads_somewhere() -> None:
    assert len(PAGES) > 25, "make docs builds the site"
    assert list(astray(PAGES)) == []


def test_a_link_that_leads_nowhere_would_be_found() -> None:
    path = SITE / "index.html"
    page = Page(path)
    page.links += ["docs/wire.html#no-such-place", "no-such-page.html"]
    assert len(list(astray({**PAGES, path: page}))) == 2


def test_nothing_is_loaded_from_elsewhere() -> None:
    assert [one for page in PAGES.values() for one in page.loaded if urlsplit(one).netloc] == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


SHOWN = ("index", "docs/troubleshooting", "reference/vlan_network_module")


@pytest.mark.parametrize("name", SHOWN)
def test_a_browser_shows_it_in_light_and_dark_and_asks_nobody(browser: Browser, name: str) -> None:
    grounds = []
    for dark in (False, True):
        tab: Tab = browser.open((SITE / f"{name}.html").as_uri(), dark=dark)
        tab.screenshot(SITE.parent / f"docs-{name.replace('/', '-')}-{'dark' if dark else 'light'}.png")
        grounds.append(tab.ask("return getComputedStyle(document.body).backgroundColor"))
        assert [url for url in tab.requests() if not url.startswith("file://")] == []
        assert tab.complaints() == []
        # Nothing sticks out at the side, also on a telephone.
        for width in (1300, 390):
            tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            assert tab.ask("return document.documentElement.scrollWidth - innerWidth") <= 0, width
        tab.close()
    assert grounds[0] != grounds[1]
