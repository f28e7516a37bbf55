# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hangs on what, and its drawing as text: complete, in order, and nothing in a name becomes syntax."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.filter.topology import topology
from ansible_collections.netops.underlay.plugins.plugin_utils import topology as drawing
from hypothesis import given
from hypothesis import strategies as st

from ..results import HOSTILE, endpoint, network, small


def test_three_vlans_as_mermaid():
    text = topology([{"networks": small()["networks"][:1]}, {"endpoints": small()["endpoints"][:1]}])
    assert text.splitlines() == [
        "flowchart LR",
        '  t0[["eth0<br/>trunk<br/>switch tor1, port Ethernet1/7, carries VLANs 10, 20"]]',
        '  t0p0(["eth0.10<br/>VLAN 10"])',
        "  t0 --- t0p0",
        '  t0p0n0["vlan10<br/>ipvlan l2<br/>172.16.80.0/24<br/>gateway 172.16.80.1"]',
        "  t0p0 --- t0p0n0",
        '  t0p0n0e0("web1<br/>172.16.80.2<br/>netns web1")',
        "  t0p0n0 --- t0p0n0e0",
        "  classDef problem stroke:#c62828,stroke-width:3px",
        "  classDef hint stroke:#b26a00,stroke-width:3px",
    ]


def test_numbers_of_vlans_are_written_as_switches_do():
    assert drawing.ranges([30, 10, 11, 12, 20, 21, 4094]) == "10-12, 20-21, 30, 4094"
    assert drawing.ranges([]) == ""


def test_what_the_trunk_check_found_is_coloured():
    text = topology(small())
    assert "  class t0p1 hint\n" in text and "  class t0p2n0 problem\n" in text and "class t0p0" not in text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_no_syntax(name):
    item = network("n", name, None, name, name, driver=name)
    given = {"networks": [item], "endpoints": [endpoint(name, "n", name, name)]}
    for line in topology(given).splitlines()[1:-2]:
        assert re.fullmatch(r'  \w+(\[\[|\(\[|\[|\()"([\w .,:/]|#\d+;|<br/>)*"(\]\]|\]\)|\]|\))|  \w+ --- \w+', line)


@given(st.text())
def test_what_is_clean_is_one_line(text):
    assert drawing.clean(text).isprintable() and len(drawing.clean(text)) == len(text)


def test_where_networks_hang():
    networks = [
        network("alone", "dm-alone", None, "172.18.0.0/16", parent_created=True),
        network("foo", "foo", 40, "10.40.0.0/24"),
        network("plain", "eth0", None, "10.0.0.0/24"),
        network("tagged", "eth0.20", 20, "10.20.0.0/24"),
        network("tagged2", "eth0.20", 20, "10.21.0.0/24"),
        network("qinq", "eth0.20.30", 30, "10.30.0.0/24", vlan_protocol="802.1ad"),
        network("gone", "eth0.50", 50, "10.50.0.0/24", state="absent"),
    ]
    endpoints = [endpoint("lost", "none", "127.0.0.1"), endpoint("host", "plain", "10.0.0.2", target="")]
    endpoints[1]["target"] = {"kind": "host", "value": ""}
    found = drawing.read({"networks": networks, "endpoints": endpoints})
    assert [
        (trunk.kind, trunk.name, [(p.name, p.tag, [n.name for n in p.networks]) for p in trunk.parents])
        for trunk in found.trunks
    ] == [
        ("trunk", "eth0", [("eth0", "untagged", ["plain"]), ("eth0.20", "VLAN 20", ["tagged", "tagged2"])]),
        ("trunk", "eth0.20", [("eth0.20.30", "VLAN 30 802.1ad", ["qinq"])]),
        ("named", "", [("foo", "VLAN 40", ["foo"])]),
        ("isolated", "", [("dm-alone", "isolated", ["alone"])]),
        ("unknown", "", [("", "", ["none"])]),
    ]
    assert [(one.name, one.target) for one in found.endpoints] == [("host", "host"), ("lost", "netns lost")]


def test_what_is_not_known_yet_is_left_out():
    """In check mode what only the kernel can know is null."""
    item = {**dict.fromkeys(network("a", "eth0.10", 10, "10.0.0.0/8")), "name": "a", "parent": "eth0.10", "vlan_id": 10}
    [found] = drawing.read({"networks": [item]}).networks
    assert (found.kind, found.subnets, found.verified) == ("", (), False)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "has to be the result of a module"),
        ({"endpoints": []}, "has no 'networks'"),
        ([{"networks": []}, 7], r"result \[1\] has to be a dictionary"),
        ({"networks": [{}]}, r"networks\[0\]: name is missing"),
        ({"networks": ["a"]}, r"networks\[0\] has to be a dictionary"),
        ({"networks": [], "endpoints": [{"name": "a"}]}, r"endpoints\[0\]: network is missing"),
        ({"networks": [], "subnets": [{"network": "a"}]}, r"subnets\[0\] is not what vlan_ipam_info returns"),
        ({"networks": [{"name": "a", "findings": [{}]}]}, r"networks\[0\]: findings\[0\]: words is missing"),
    ],
)
def test_what_is_no_result_is_refused(value: Any, words: str):
    with pytest.raises(AnsibleFilterError, match=f"netops.underlay.topology: .*{words}"):
        topology(value)


def test_an_unknown_format_is_refused():
    with pytest.raises(AnsibleFilterError, match="format 'svg' is not one of mermaid, graphviz"):
        topology(small(), "svg")


def test_the_documentation_has_what_the_filter_takes():
    path = Path(__file__).resolve().parents[2] / "plugins" / "filter" / "topology.yml"
    document = yaml.safe_load(path.read_text())
    options = document["DOCUMENTATION"]["options"]
    defaults = {name: parameter.default for name, parameter in inspect.signature(topology).parameters.items()}
    assert list(options) == ["_input", *list(defaults)[1:]]
    assert options["format"]["default"] == defaults["format"]
    assert options["format"]["choices"] == ["mermaid", "graphviz"]
    assert "netops.underlay.topology" in str(yaml.safe_load(document["EXAMPLES"]))
