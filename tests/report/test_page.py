# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page in a real browser: complete, drawn inside its boxes, light and dark, and nothing is asked for or complained of.

The screenshots of the last run are kept in ``.work/report``, for a person to look at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.netops.underlay.plugins.filter.report import report
from ansible_collections.netops.underlay.plugins.plugin_utils import topology as drawing
from ansible_collections.netops.underlay.plugins.plugin_utils.report import as_csv

from ..results import HOSTILE, endpoint, found, large, network, small, use
from .browser import Browser, Tab

PICTURES = Path(__file__).resolve().parents[2] / ".work" / "report"
SIZES = {"3-vlans": small, "250-vlans": large}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    found = Browser(tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


def shown(browser: Browser, folder: Path, value: Any, **options: Any) -> Tab:
    path = folder / "page.html"
    path.write_text(report(value, host="hyper7.example.net", time="2026-11-28 06:00 UTC"))
    return browser.open(path.as_uri(), **options)


# Every text of the drawing that is not inside the box that it is in, or not inside the drawing.
OUTSIDE = """
const found = [];
const inside = (one, box) => one.left >= box.left - 1 && one.right <= box.right + 1 && one.top >= box.top - 1
    && one.bottom <= box.bottom + 1;
for (const svg of document.querySelectorAll(".drawing svg")) {
    const boxes = [...svg.querySelectorAll("rect.box, rect.chip")].map(one => one.getBoundingClientRect());
    for (const text of svg.querySelectorAll("text")) {
        const place = text.getBoundingClientRect();
        const home = boxes.find(box => box.left <= place.left && box.right >= place.left && box.top <= place.top + 4
            && box.bottom >= place.bottom - 4);
        if (!inside(place, home || svg.getBoundingClientRect())) found.push(text.textContent);
    }
}
return found;
"""


@pytest.mark.parametrize("size", SIZES)
def test_the_page(browser, tmp_path, size):
    given = SIZES[size]()
    tab = shown(browser, tmp_path, given)
    assert tab.requests() == [(tmp_path / "page.html").as_uri()]
    assert tab.complaints() == []

    text = tab.ask("return document.body.textContent")
    for item in given["networks"]:
        assert item["name"] in text and item["parent"] in text
        for subnet in item["ipam_config"]:
            assert subnet["subnet"] in text and (subnet["gateway"] or "") in text
        for finding in item.get("findings", ()):
            assert finding["words"] in text
    for item in given["endpoints"]:
        assert item["name"] in text and item["ipv4"]["address"] in text and item["target"]["value"] in text
    drawn = set(tab.ask("return [...document.querySelectorAll('.drawing svg text')].map(one => one.textContent)"))
    assert {item["name"] for item in given["networks"]} <= drawn
    assert {str(item["vlan_id"]) for item in given["networks"] if item["vlan_id"]} <= drawn

    assert tab.ask(OUTSIDE) == []
    # Nothing has to be scrolled to the side, and letters have a size that can be read.
    assert tab.ask("return document.documentElement.scrollWidth") <= 1300
    sizes = "return [...document.querySelectorAll('.drawing .soft')].map(one => one.getBoundingClientRect().height)"
    assert min(tab.ask(sizes)) >= 11
    # What is linked to is there.
    assert (
        tab.ask(
            "return [...document.querySelectorAll('a[href^=\"#\"]')].filter(one => !document.querySelector(one.hash))"
        )
        == []
    )

    PICTURES.mkdir(parents=True, exist_ok=True)
    light = tab.screenshot(PICTURES / f"{size}-light.png")
    tab.media("screen", dark=True)
    dark = tab.screenshot(PICTURES / f"{size}-dark.png")
    tab.ask("document.querySelector('.drawing').scrollIntoView({behavior: 'instant'})")
    tab.screenshot(PICTURES / f"{size}-drawing.png")
    assert light[:8] == dark[:8] == b"\x89PNG\r\n\x1a\n" and light != dark
    tab.close()


BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


def test_light_and_dark_are_the_readers_choice_and_paper_is_light(browser, tmp_path):
    tab = shown(browser, tmp_path, small())
    ink = "return getComputedStyle(document.body).color"
    light, light_ink = tab.ask(BACKGROUND), tab.ask(ink)
    tab.media("screen", dark=True)
    assert tab.ask(BACKGROUND) != light and tab.ask(ink) != light_ink
    tab.media("print", dark=True)
    assert tab.ask(ink) == light_ink
    tab.close()


def test_who_does_not_see_the_drawing_is_told_of_it(browser, tmp_path):
    tab = shown(browser, tmp_path, small())
    nodes = [one for one in tab.call("Accessibility.getFullAXTree")["nodes"] if not one["ignored"]]
    pictures = [one for one in nodes if one["role"]["value"] in ("image", "img")]
    names = [one["name"]["value"] for one in pictures]
    switch = "switch tor1, port Ethernet1/7, carries VLANs 10, 20"
    assert names[:4] == [f"eth0, trunk, 3 VLANs; {switch}", "eth0.10, VLAN 10", "eth0.20, VLAN 20", "eth0.30, VLAN 30"]
    told = pictures[3]["description"]["value"]
    assert told.startswith("Network vlan30, ipvlan l2, 10.1.0.0/16 with gateway 10.1.100.1: 2 endpoints.")
    assert "problem: VLAN 30: no station answers" in told
    assert names[4:] == ["222 of 253 in use", "6 of 1\u202f021 in use", "2 of 65\u202f533 in use"]
    tab.close()


def test_what_is_folded_on_the_screen_is_printed(browser, tmp_path):
    tab = shown(browser, tmp_path, large())
    height = "return document.querySelector('details td').getBoundingClientRect().height"
    assert tab.ask("return document.querySelectorAll('details[open]').length") == 0
    tab.media("print")
    assert tab.ask(height) > 0
    tab.close()


def test_the_csv_is_saved_as_a_file(browser, tmp_path):
    tab = shown(browser, tmp_path, small())
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    tab.ask("document.querySelector('a[download]').click()")
    browser.wait("Browser.downloadProgress", lambda params: params["state"] == "completed")
    saved = (tmp_path / "hyper7.example.net-vlans.csv").read_bytes().decode()
    assert saved == as_csv(drawing.read(small())) and saved.count("\r\n") == 4
    tab.close()


def test_a_narrow_window_scrolls_the_drawing_not_the_page(browser, tmp_path):
    tab = shown(browser, tmp_path, small(), width=390, height=800)
    assert tab.ask("return document.documentElement.scrollWidth") <= 390
    tab.close()


def test_long_names_and_many_subnets_stay_in_their_boxes(browser, tmp_path):
    long = "n" * 64
    subnets = [
        {"subnet": "2001:db8:1111:2222:3333:4444:5555:0/112", "gateway": "2001:db8:1111:2222:3333:4444:5555:1"},
        {"subnet": "10.0.0.0/8", "gateway": None, "ip_range": "10.200.0.0/16"},
        {"subnet": "10.1.0.0/8", "gateway": None, "ip_range": "10.201.0.0/16"},
    ]
    item = network(
        long, "averylongname.4094", 4094, "10.0.0.0/8", ipam_config=subnets, vlan_protocol="802.1ad", mode="l3s"
    )
    both = {"ipv6": {"address": "2001:db8:1111:2222:3333:4444:5555:6666", "prefixlen": 112}}
    tab = shown(
        browser,
        tmp_path,
        {
            "networks": [item, network("wide", "\u4e2d\u6587" * 7, None, "10.2.0.0/16", **found("\u4e2d" * 300))],
            "endpoints": [endpoint("e" * 64, long, "10.200.0.1", "t" * 200, **both)] * 3,
            "subnets": [use(long, subnets[0]["subnet"], 65533, 3)],
        },
    )
    assert tab.ask(OUTSIDE) == []
    tab.screenshot(PICTURES / "long.png")
    assert tab.ask("return document.documentElement.scrollWidth") <= 1300
    tab.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_no_markup(browser, tmp_path, name):
    item = network("n", name, 7, name, name, driver=name, **found(name))
    tab = shown(browser, tmp_path, {"networks": [item], "endpoints": [endpoint(name, "n", name, name)]})
    assert tab.requests() == [(tmp_path / "page.html").as_uri()]
    assert tab.complaints() == []
    kinds = set(tab.ask("return [...document.querySelectorAll('*')].map(one => one.localName)"))
    assert not kinds & {"script", "img", "iframe", "object", "b", "foreignObject"}
    assert drawing.clean(name) in tab.ask("return document.querySelector('.finding').textContent")
    tab.close()


def test_what_is_forbidden_would_be_seen(browser, tmp_path):
    """The control: another page asks, complains, and has text outside of its box."""
    path = tmp_path / "other.html"
    path.write_text(
        '<!DOCTYPE html><img src="http://127.0.0.1:9/x.png"><script>console.error("loud")</script><div class="drawing">'
        '<svg viewBox="0 0 200 40" width="200"><rect class="box" width="50" height="40"/><text x="5" y="20">far too long'
        "</text></svg></div>"
    )
    tab = browser.open(path.as_uri())
    assert "http://127.0.0.1:9/x.png" in tab.requests()
    assert any("loud" in one for one in tab.complaints())
    assert tab.ask(OUTSIDE) == ["far too long"]
    tab.close()


def test_the_control_of_the_page_itself_forbids(browser, tmp_path):
    """Markup that got into the page all the same would neither run nor ask."""
    path = tmp_path / "page.html"
    smuggled = '<img src="http://127.0.0.1:9/x.png" onerror="console.error(1)"><script>document.title = "run"</script>'
    path.write_text(report(small()).replace("<main>", f"<main>{smuggled}"))
    tab = browser.open(path.as_uri())
    assert tab.ask("return document.title") == "VLANs"
    assert len([one for one in tab.complaints() if re.search("Content Security Policy", one)]) >= 2
    failed = [one for one in browser.events if one.get("method") == "Network.loadingFailed"]
    assert (
        any(one["params"].get("blockedReason") == "csp" for one in failed)
        or json.dumps(tab.requests()).count("x.png") == 0
    )
    tab.close()
