# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drawings as Graphviz itself reads them: complete, and nothing in a name becomes syntax."""

from __future__ import annotations

import html
import json
import re
import subprocess

import pytest
from ansible_collections.netops.underlay.plugins.filter.topology import topology
from ansible_collections.netops.underlay.plugins.plugin_utils import topology as drawing

from ..results import HOSTILE, endpoint, large, network, small


def boxes_and_lines(text: str) -> tuple[list[list[str]], list[tuple[str, str]]]:
    """The lines in each box, and which box hangs on which, as Graphviz itself understands the text."""
    done = subprocess.run(["dot", "-Tjson0"], input=text, capture_output=True, text=True, check=True)
    assert not done.stderr
    graph = json.loads(done.stdout)
    names = [item["name"] for item in graph["objects"]]
    labels = [_text(item["label"]).split("\n") for item in graph["objects"]]
    return labels, [(names[edge["tail"]], names[edge["head"]]) for edge in graph.get("edges", ())]


def _text(label: str) -> str:
    signs = {"\\n": "\n", "\\\\": "\\"}
    return html.unescape("".join(signs.get(one, one) for one in re.findall(r"\\.|[^\\]", label)))


def test_graphviz_reads_what_is_drawn():
    labels, edges = boxes_and_lines(topology(small(), "graphviz"))
    assert labels[:4] == [
        ["eth0", "trunk", "switch tor1, port Ethernet1/7, carries VLANs 10, 20"],
        ["eth0.10", "VLAN 10"],
        ["vlan10", "ipvlan l2", "172.16.80.0/24", "gateway 172.16.80.1"],
        ["web1", "172.16.80.2", "netns web1"],
    ]
    assert ["app2", "172.16.51.7", "netns app2", "waiting"] in labels
    assert len(labels) == 1 + 3 + 3 + 6 and len(edges) == len(labels) - 1


def test_many_vlans_are_all_there():
    given = large()
    labels, edges = boxes_and_lines(topology(given, "graphviz"))
    firsts = {label[0] for label in labels}
    for item in given["networks"] + given["endpoints"]:
        assert item["name"] in firsts
    # Three roots: two trunks, and what is isolated.
    assert len(edges) == len(labels) - 3


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_no_syntax(name):
    item = network("n", name, None, name, name, driver=name)
    given = {"networks": [item], "endpoints": [endpoint(name, "n", name, name)]}
    labels, edges = boxes_and_lines(topology(given, "graphviz"))
    clean = drawing.clean(name)
    assert labels == [
        [clean, "trunk"],
        ["n", f"{clean} l2", clean, f"gateway {clean}"],
        [clean, clean, f"netns {clean}"],
    ]
    assert len(edges) == 2
