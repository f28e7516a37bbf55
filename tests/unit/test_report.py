# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The table and the page, without a browser: what stands in them, that the page is well formed and asks for nothing."""

from __future__ import annotations

import csv
import inspect
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.filter.report import FORMATS, report
from ansible_collections.netops.underlay.plugins.modules import vlan_endpoint_info, vlan_ipam_info, vlan_network_info
from ansible_collections.netops.underlay.plugins.plugin_utils import topology as drawing
from ansible_collections.netops.underlay.plugins.plugin_utils.picture import COLOURS, fitting, number, use_parts
from ansible_collections.netops.underlay.plugins.plugin_utils.report import CSV_HEADING, as_csv

from ..results import HOSTILE, endpoint, found, large, network, small, use

# --- the table ------------------------------------------------------------------------------------------------


def test_the_table_of_three_vlans():
    assert report(small(), "table").splitlines() == [
        "VLAN  SUB-INTERFACE  NETWORK  SUBNET          GATEWAY      ENDPOINTS      USED   FREE  FINDINGS",
        "  10  eth0.10        vlan10   172.16.80.0/24  172.16.80.1  2               222     31  ok",
        "  20  eth0.20        vlan20   172.16.48.0/22  172.16.50.1  2 (1 waiting)     6   1015  1 hint",
        "  30  eth0.30        vlan30   10.1.0.0/16     10.1.100.1   2                 2  65531  1 problem",
        "problem: VLAN 30: no station answers; eth0's switch port does not seem to carry VLAN 30 (vlan30)",
        "hint: VLAN 20: gateway 172.16.50.1 silent, but 12 stations heard: wrong gateway address? (vlan20)",
        "eth0: switch tor1, port Ethernet1/7, carries VLANs 10, 20",
        "3 networks, 6 endpoints (1 waiting), 1 problem, 1 hint.",
    ]


def test_the_documentation_shows_this_table():
    text = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
    assert f"```text\n{report(small(), 'table')}\n```" in text


def test_without_a_check_and_without_numbers_their_columns_are_empty():
    items = [
        network("both", "eth0.40", 40, "10.0.0.0/24", "10.0.0.1"),
        network("alone", "dm-alone", None, "10.9.0.0/24", parent_created=True),
    ]
    items[0]["ipam_config"].append({"subnet": "2001:db8::/64", "gateway": "2001:db8::1"})
    given = {"networks": items, "subnets": [use("both", "2001:db8::/64", 2**64 - 2, 1)]}
    assert report([given], "table").splitlines() == [
        "VLAN  SUB-INTERFACE  NETWORK  SUBNET         GATEWAY      ENDPOINTS  USED    FREE  FINDINGS",
        "  40  eth0.40        both     10.0.0.0/24    10.0.0.1     0",
        "                              2001:db8::/64  2001:db8::1                1  1.8e19",
        "      dm-alone       alone    10.9.0.0/24                 0",
        "2 networks, 0 endpoints, trunk not checked.",
    ]


def test_a_healthy_trunk_and_nothing_at_all():
    healthy = {"networks": small()["networks"][:1]}
    assert report(healthy, "table").splitlines()[-1] == "1 network, 0 endpoints, no findings."
    assert "1 network checked, nothing found" in report(healthy)
    assert report({"networks": []}, "table").splitlines()[-1] == "0 networks, 0 endpoints, trunk not checked."
    assert "The trunk check was not run." in report({"networks": []})


def test_of_a_subnet_with_a_range_the_numbers_are_those_of_the_range():
    item = network("n", "eth0.5", 5, "10.0.0.0/24")
    item["ipam_config"][0]["ip_range"] = "10.0.0.128/25"
    uses = [use("n", "10.0.0.0/24", 253, 3), {**use("n", "10.0.0.0/24", 127, 3), "ip_range": "10.0.0.128/25"}]
    assert report({"networks": [item], "subnets": uses}, "table").splitlines()[1].split()[-2:] == ["3", "124"]
    assert "range 10.0.0.128/25" in report({"networks": [item], "subnets": uses})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_does_not_break_a_line_of_the_table(name):
    given = {"networks": [network("n", name, 7, name, name, **found(name))], "endpoints": []}
    text = report(given, "table")
    assert len(text.splitlines()) == 4 and text.replace("\n", "").isprintable()


def test_what_the_modules_document_is_read():
    """The samples of the three modules, put together, are what the filters take."""
    documents = [yaml.safe_load(module.RETURN) for module in (vlan_network_info, vlan_endpoint_info, vlan_ipam_info)]
    results = [{key: part["sample"] for key, part in document.items() if "sample" in part} for document in documents]
    seen = documents[0]["networks"]["contains"]
    results[0]["networks"] = [
        {**results[0]["networks"][0], **{key: seen[key]["sample"] for key in ("wire", "findings")}}
    ]
    table = report(results, "table").splitlines()
    assert table[1].split() == "20 eth0.20 ipvlan20 192.168.20.0/24 192.168.20.1 1 1 252 1 problem".split()
    assert table[2:] == [
        "problem: VLAN 20: MTU 9000 does not pass; 1500 does (ipvlan20)",
        "eth0: switch tor1, port Ethernet1/7, carries VLANs 10, 20",
        "1 network, 1 endpoint, 1 problem.",
    ]


# --- the page -------------------------------------------------------------------------------------------------

EMPTY_ELEMENTS = {"meta", "link", "br"}


class Page(HTMLParser):
    """Every element with its attributes; that each is closed is held on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        if tag not in EMPTY_ELEMENTS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("make", [small, large, lambda: {"networks": []}], ids=["small", "large", "empty"])
def test_the_page_is_whole_and_asks_for_nothing(make):
    text = report(make(), host="h", time="now")
    page = Page(text)
    assert not {tag for tag, _attributes in page.elements} & {"script", "img", "iframe", "object", "base", "form"}
    ids = [attributes["id"] for _tag, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "src"], tag
        address = attributes.get("href")
        assert address is None or address.startswith(("#", "data:")), address
        for name in f"{attributes.get('aria-labelledby', '')} {attributes.get('aria-describedby', '')}".split():
            assert name in ids
        if attributes.get("role") == "img":
            assert attributes.get("aria-label") or attributes.get("aria-labelledby")
    assert not re.search(r"url\(|@import|https?:", text)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_no_markup(name):
    def shape(page: Page) -> list[tuple[str, list[str]]]:
        return [(tag, list(attributes)) for tag, attributes in page.elements]

    def page(name: str) -> Page:
        items = [network(name, name, 7, name, name, driver=name, mode=name, vlan_protocol=name, **found(name))]
        items[0]["wire"]["gateways"] = [{"address": name, "mac_address": name, "rtt_ms": name}]
        items[0]["ipam_config"][0]["ip_range"] = name
        # As many as have an overview, tagged and not.
        items += [network(f"n{vlan}", f"{name}.{vlan}", vlan, "10.0.0.0/8") for vlan in range(30)]
        items.append(network("plain", f"p{name}", None, "10.0.0.0/8"))
        given = {"networks": items, "endpoints": [endpoint(name, name, name, name, state=name, ifname=name)]}
        return Page(report(given, host=name, time=name))

    assert shape(page(name)) == shape(page("x" * len(name)))


def test_the_page_names_the_gateways_that_were_heard():
    given = small()
    assert "02:42:ac:10:50:01, 0.3 ms" in report(given)
    given["networks"][0]["wire"]["gateways"][0].update(mac_address=None, rtt_ms=None)
    text = report(given)
    assert "02:42:ac:10:50:01" not in text and "silent</span>" in text


def test_many_endpoints_are_drawn_in_part_and_listed_whole():
    many = [endpoint(f"e{number}", "n", f"10.0.0.{number + 2}") for number in range(40)]
    text = report({"networks": [network("n", "eth0.5", 5, "10.0.0.0/24")], "endpoints": many})
    drawn, listed = text.split('id="h-endpoints"')
    assert "and 28 more, listed under Endpoints" in drawn and ">e12<" not in drawn
    assert all(f">{one['name']}<" in listed for one in many)


# WCAG 2.1, 1.4.3 and 1.4.11: text 4.5, what has to be seen 3.
ON_CARD = ["ink", "muted", "accent", "problem", "hint", "ok"]
TEXTS = [
    *((name, ground) for name in ON_CARD for ground in ("card", "ground")),
    *((name, f"{kind}-ground") for kind in ("problem", "hint", "ok") for name in (kind, "ink")),
    ("on-accent", "accent"),
]
SHAPES = [
    (name, ground)
    for name in ("wire", "accent", "reserved", "cooling", "problem", "hint")
    for ground in ("card", "ground")
]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("pairs", "least"), [(TEXTS, 4.5), (SHAPES, 3)], ids=["text", "shapes"])
def test_contrast(pairs, least, which):
    for name, ground in pairs:
        dark, light = sorted(luminance(COLOURS[one][which]) for one in (name, ground))
        assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)


def test_what_does_not_fit_is_cut():
    assert fitting("abc", 24, 13) == "abc"
    assert fitting("abcd", 24, 13) == "ab\u2026"
    assert fitting("abcd", 0.1, 13) == "\u2026"


def test_the_parts_of_a_bar_are_within_it_and_seen():
    for numbers in [
        (253, 1, 0, 0, 252),
        (253, 0, 253, 0, 0),
        (2**64, 1, 1, 1, 2**64 - 3),
        (3, 1, 1, 1, 0),
        (0, 0, 0, 0, 0),
    ]:
        parts = list(use_parts(drawing.Use(*numbers), 100))
        assert all(width > 1 for _kind, _at, width in parts)
        assert sum(width for _kind, _at, width in parts) <= 100
        assert [kind for kind, _at, _width in parts] == [
            kind for kind, many in zip(("held", "reserved", "cooling"), numbers[1:]) if many
        ]


def test_numbers_are_grouped_and_large_ones_rounded():
    assert [number(many) for many in (7, 65531, 2**64)] == ["7", "65\u202f531", "1.8e19"]


# --- the map as CSV -------------------------------------------------------------------------------------------


def test_the_map_as_csv():
    items = [network("n", "eth0.5", 5, "10.0.0.0/24", "10.0.0.1"), network("x", '=cmd|"a",b', None, "10.1.0.0/24")]
    [heading, first, second] = csv.reader(io.StringIO(as_csv(drawing.read({"networks": items}))))
    assert tuple(heading) == CSV_HEADING
    assert first == ["5", "eth0.5", "n", "ipvlan", "l2", "10.0.0.0/24", "10.0.0.1", ""]
    # No spreadsheet takes it for a formula.
    assert second == ["", '\'=cmd|"a",b', "x", "ipvlan", "l2", "10.1.0.0/24", "", ""]


# --- the filter -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_no_result_is_refused(format):
    with pytest.raises(AnsibleFilterError, match=r"netops.underlay.report: the input has no 'networks'"):
        report({"endpoints": []}, format)


def test_an_unknown_format_is_refused():
    with pytest.raises(AnsibleFilterError, match="format 'pdf' is not one of html, table"):
        report(small(), "pdf")


def test_the_documentation_has_what_the_filter_takes():
    path = Path(__file__).resolve().parents[2] / "plugins" / "filter" / "report.yml"
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    options = document["DOCUMENTATION"]["options"]
    defaults = {name: parameter.default for name, parameter in inspect.signature(report).parameters.items()}
    del defaults["value"]
    assert {name: option.get("default") for name, option in options.items() if name != "_input"} == defaults
    assert options["format"]["choices"] == list(FORMATS)
    assert "netops.underlay.report" in str(yaml.safe_load(document["EXAMPLES"]))
