# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a Compose file says becomes items that our modules take, nothing gets lost without a word, and bad input is named."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.netops.underlay.plugins.filter.from_compose import from_compose
from ansible_collections.netops.underlay.plugins.module_utils import spec
from hypothesis import given
from hypothesis import strategies as st

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY / "plugins" / "filter" / "from_compose.yml"
NOTHING: dict[str, list[Any]] = {"networks": [], "endpoints": [], "addresses": [], "warnings": []}
FRONT: dict[str, Any] = {"driver": "macvlan", "driver_opts": {"parent": "eth0.20"}}
SYSCTLS = "com.docker.network.endpoint.sysctls"
IFNAME = "com.docker.network.endpoint.ifname"
MTU = "com.docker.network.driver.mtu"

# Made by hand, as people write them.
WRITTEN = """
version: "3.9"
name: shop
x-logging: &logging
  driver: json-file
services:
  web:
    image: nginx:${TAG:-latest}
    command: [nginx, -g, "daemon off;"]
    logging: *logging
    ports: ["80:80"]
    networks:
      front:
        ipv4_address: 192.168.20.10
        ipv6_address: 2001:db8:20::10
        mac_address: 02:42:c0:a8:14:0a
        interface_name: lan0
        gw_priority: 1
        aliases: [www, web]
        driver_opts:
          com.docker.network.endpoint.sysctls: "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=2"
      back:
  db:
    image: postgres
    container_name: database
    environment: {PASSWORD: "${SECRET}"}
    networks: [back]
  batch:
    image: busybox
    network_mode: none
networks:
  front:
    driver: macvlan
    driver_opts:
      parent: eth0.20
      macvlan_mode: vepa
      com.docker.network.driver.mtu: 1400
    enable_ipv6: true
    ipam:
      driver: default
      config:
        - subnet: 192.168.20.0/24
          ip_range: 192.168.20.128/25
          gateway: 192.168.20.254
          aux_addresses: {my-router: 192.168.20.129}
        - subnet: 2001:db8:20::/64
          gateway: 2001:db8:20::1
    labels:
      com.example.team: web
      com.example.cost: "5$$"
      x-kept: yes
  back:
    driver: ipvlan
    driver_opts: {parent: eth0.30, ipvlan_mode: l3, ipvlan_flag: private}
    ipam:
      config: [{subnet: 192.168.30.0/24, gateway: 192.168.30.254}]
    x-note: not ours
volumes:
  data:
"""

# As `docker compose config --format json` prints it.
PRINTED = """
{
  "name": "shop",
  "networks": {
    "default": {"name": "shop_default", "ipam": {}},
    "front": {
      "name": "shop_front",
      "driver": "macvlan",
      "driver_opts": {"parent": "eth0.20"},
      "ipam": {"config": [{"subnet": "192.168.20.0/24", "gateway": "192.168.20.1"}]},
      "internal": false
    },
    "outside": {"name": "vlan40", "ipam": {}, "external": true}
  },
  "services": {
    "web": {
      "command": null,
      "entrypoint": null,
      "image": "nginx",
      "networks": {"front": {"ipv4_address": "192.168.20.10", "aliases": ["www"]}, "outside": null}
    },
    "other": {"command": null, "entrypoint": null, "image": "nginx", "networks": {"default": null}}
  }
}
"""


def written() -> dict[str, Any]:
    return yaml.safe_load(WRITTEN)


def compose(services: Any = None, **networks: Any) -> dict[str, Any]:
    """A file with these services and networks, and a macvlan network ``front``."""
    return {"services": services or {}, "networks": {"front": copy.deepcopy(FRONT), **networks}}


def network(**changes: Any) -> dict[str, Any]:
    """A file with one macvlan network that has further keys; ``driver_opts`` come to its parent."""
    front = copy.deepcopy(FRONT)
    front["driver_opts"].update(changes.pop("driver_opts", {}))
    return compose(front={**front, **changes})


def config(**keys: Any) -> dict[str, Any]:
    """A file with one subnet that has these keys."""
    return network(ipam={"config": [{"subnet": "192.168.20.0/24", **keys}]})


def attached(**options: Any) -> dict[str, Any]:
    """A file with one service that is on ``front`` in this way."""
    return compose({"web": {"networks": {"front": options}}})


def check_items(result: dict[str, list[Any]]) -> None:
    """The rules of our modules take every item."""
    for item in result["networks"]:
        spec.network_spec("", defaultdict(lambda: None, item, state="present"))
    for item in result["endpoints"]:
        options = dict(item)
        if "container" not in spec.TARGET_OPTIONS:
            options["netns"] = options.pop("container", "any")
        spec.endpoint_spec("", defaultdict(lambda: None, options, state="present"))
    for item in result["addresses"]:
        spec.address_spec("", defaultdict(lambda: None, item, state="present"))


def only_endpoint(document: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    [endpoint] = from_compose(document, **arguments)["endpoints"]
    return endpoint


def warnings(document: dict[str, Any], **arguments: Any) -> list[str]:
    return from_compose(document, **arguments)["warnings"]


# --- good files -----------------------------------------------------------------------------------------------


def test_a_file_as_people_write_it():
    result = from_compose(written(), project="shop")
    check_items(result)
    assert result == {
        "networks": [
            {
                "name": "shop_front",
                "driver": "macvlan",
                "parent": "eth0.20",
                "macvlan_mode": "vepa",
                "mtu": 1400,
                "internal": False,
                "enable_ipv6": True,
                "ipam_config": [
                    {
                        "subnet": "192.168.20.0/24",
                        "gateway": "192.168.20.254",
                        "ip_range": "192.168.20.128/25",
                        "aux_addresses": {"my-router": "192.168.20.129"},
                    },
                    {"subnet": "2001:db8:20::/64", "gateway": "2001:db8:20::1"},
                ],
                "labels": {"com.example.team": "web", "com.example.cost": "5$", "x-kept": "true"},
            },
            {
                "name": "shop_back",
                "driver": "ipvlan",
                "parent": "eth0.30",
                "ipvlan_mode": "l3",
                "ipvlan_flag": "private",
                "internal": False,
                "ipam_config": [{"subnet": "192.168.30.0/24"}],
            },
        ],
        "endpoints": [
            {
                "name": "shop-web-1",
                "network": "shop_back",
                "container": "shop-web-1",
                "aliases": ["web"],
                "default_route": False,
            },
            {
                "name": "shop-web-1",
                "network": "shop_front",
                "container": "shop-web-1",
                "ipv4_address": "192.168.20.10",
                "ipv6_address": "2001:db8:20::10",
                "ifname": "lan0",
                "aliases": ["web", "www"],
                "sysctls": {"net.ipv4.conf.IFNAME.log_martians": "1", "net.ipv6.conf.IFNAME.accept_ra": "2"},
                "mac_address": "02:42:c0:a8:14:0a",
                "default_route": True,
            },
            {"name": "database", "network": "shop_back", "container": "database", "aliases": ["db"]},
            {"name": "shop-batch-1", "network": "none", "container": "shop-batch-1"},
        ],
        "addresses": [
            {
                "network": "shop_front",
                "owner": "shop-web-1",
                "address": address,
                "description": "from compose service web",
            }
            for address in ("192.168.20.10", "2001:db8:20::10")
        ],
        "warnings": [],
    }


def test_what_docker_compose_config_prints():
    result = from_compose(json.loads(PRINTED), project="shop")
    check_items(result)
    assert from_compose(PRINTED, project="shop") == result
    assert [item["name"] for item in result["networks"]] == ["shop_front"]
    assert [(item["name"], item["network"]) for item in result["endpoints"]] == [
        ("shop-web-1", "shop_front"),
        ("shop-web-1", "vlan40"),
    ]
    assert result["warnings"] == [
        "networks.default: its driver is 'bridge', and only ipvlan and macvlan are taken over",
        "networks.outside: it is external: the network 'vlan40' has to exist before endpoints are attached to it",
        "services.other.networks.default: its network is not taken over, and the service gets no endpoint on it",
    ]


@pytest.mark.parametrize("document", [{"services": {}}, {"networks": {}}, {"services": None}, {"networks": None}])
def test_nothing_gives_nothing(document):
    assert from_compose(document) == NOTHING


def test_the_input_is_not_changed():
    document = written()
    from_compose(document, target="netns")
    assert document == written()


def test_the_target_and_the_names_without_a_project():
    result = from_compose(written(), target="netns")
    check_items(result)
    assert [item["name"] for item in result["networks"]] == ["front", "back"]
    assert [(item["name"], item["netns"]) for item in result["endpoints"]] == [
        ("web", "web"),
        ("web", "web"),
        ("database", "database"),
        ("batch", "batch"),
    ]
    # The service's name is no alias of an endpoint that has it.
    assert [item.get("aliases") for item in result["endpoints"]] == [None, ["www"], ["db"], None]
    assert result["warnings"] == []


def test_the_project_of_the_file_is_hinted_at_where_a_container_would_not_be_found():
    [warning] = warnings(written())
    assert warning.startswith("name: the file names the project 'shop'")
    assert "the container of 'web', 'batch' is looked for" in warning
    document = written()
    document["services"] = {"db": document["services"]["db"]}
    assert warnings(document) == []


def test_an_empty_project_is_none():
    assert from_compose(attached(), project="") == from_compose(attached())


# --- networks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", [None, "", "bridge", "overlay", "host", "macvlan:latest"])
def test_another_driver_is_left_out_with_the_services_on_it(driver):
    document = compose({"web": {"networks": ["lan"]}}, lan={"driver": driver, "driver_opts": {"a": "${UNUSED}"}})
    result = from_compose(document)
    assert result["endpoints"] == []
    assert [item["name"] for item in result["networks"]] == ["front"]
    assert result["warnings"] == [
        f"networks.lan: its driver is '{driver or 'bridge'}', and only ipvlan and macvlan are taken over",
        "services.web.networks.lan: its network is not taken over, and the service gets no endpoint on it",
    ]


def test_a_network_with_nothing_in_it_is_a_bridge():
    assert "its driver is 'bridge'" in warnings({"networks": {"front": None}})[0]


def test_the_name_of_a_network():
    document = compose({"web": {"networks": ["front", "named"]}}, named={**FRONT, "name": "vlan20"})
    result = from_compose(document, project="shop")
    assert [item["name"] for item in result["networks"]] == ["shop_front", "vlan20"]
    assert [item["network"] for item in result["endpoints"]] == ["shop_front", "vlan20"]


def test_the_second_of_two_networks_with_one_name_is_left_out():
    document = compose({"web": {"networks": ["twin"]}}, twin={"driver": "ipvlan", "name": "front"})
    result = from_compose(document)
    assert [item["driver"] for item in result["networks"]] == ["macvlan"]
    assert result["endpoints"] == []
    assert result["warnings"][0] == (
        "networks.twin: it is left out: there is a network with the name 'front' already; rename one of them"
    )


@pytest.mark.parametrize(
    ("external", "name", "words"),
    [
        ({"external": True}, "lan", None),
        ({"external": "true", "name": "vlan40"}, "vlan40", None),
        ({"external": {"name": "vlan40"}}, "vlan40", None),
        ({"external": {}}, "lan", None),
        ({"external": True, "driver": "macvlan"}, "lan", "networks.lan.driver: 'macvlan' is not taken over"),
        ({"external": {"name": "a", "nam": "b"}}, "a", "networks.lan.external.nam: 'b' is not taken over"),
    ],
)
def test_an_external_network_is_referred_to_and_not_made(external, name, words):
    document = compose({"web": {"networks": {"lan": {"ipv4_address": "10.1.1.1"}}}}, lan=external)
    result = from_compose(document, project="shop")
    check_items(result)
    assert [item["name"] for item in result["networks"]] == ["shop_front"]
    assert [item["network"] for item in result["endpoints"] + result["addresses"]] == [name, name]
    *others, exists = result["warnings"]
    assert exists == (
        f"networks.lan: it is external: the network '{name}' has to exist before endpoints are attached to it"
    )
    assert others == ([] if words is None else [words])


def test_an_external_network_that_is_false_is_made():
    assert [item["name"] for item in from_compose(network(external=False))["networks"]] == ["front"]


def test_networks_of_docker_itself():
    services = {"web": {"networks": {"nonet": {"aliases": ["www"]}}}, "host": {"networks": ["hostnet"]}}
    own = {name: {"external": True, "name": name.removesuffix("net")} for name in ("hostnet", "bridgenet")}
    nonet = {"external": True, "name": "none"}
    result = from_compose(compose(services, nonet=nonet, **own))
    check_items(result)
    assert result["endpoints"] == [{"name": "web", "network": "none", "container": "web"}]
    assert result["warnings"] == [
        "networks.hostnet: it is Docker's own network 'host', which is not taken over",
        "networks.bridgenet: it is Docker's own network 'bridge', which is not taken over",
        "services.web.networks.nonet.aliases: \"['www']\" is not taken over",
        "services.host.networks.hostnet: its network is not taken over, and the service gets no endpoint on it",
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a=b", "c", "d=e=f"], {"a": "b", "c": "", "d": "e=f"}),
        ({"a": "b", "c": None, "d": True, "e": 5, "f": 1.5}, {"a": "b", "c": "", "d": "true", "e": "5", "f": "1.5"}),
        ({}, None),
        ([], None),
    ],
)
def test_labels_in_both_forms(labels, expected):
    [item] = from_compose(network(labels=labels))["networks"]
    assert item.get("labels") == expected


@pytest.mark.parametrize(
    "empty", [{}, {"ipam": None}, {"ipam": {}}, {"ipam": {"config": None}}, {"ipam": {"config": [{}]}}]
)
def test_without_subnets_the_network_gets_one_of_ours(empty):
    result = from_compose(network(**empty))
    assert result["warnings"] == []
    assert "ipam_config" not in result["networks"][0]


@pytest.mark.parametrize("empty", [{"driver_opts": {"parent": None}}, {"driver_opts": {"parent": ""}}])
def test_without_a_parent_it_is_a_network_without_one(empty):
    assert "parent" not in from_compose(network(**empty))["networks"][0]


@pytest.mark.parametrize("value", [True, "true", "Yes", "on", "1"])
def test_switches_as_compose_reads_them(value):
    [item] = from_compose(network(internal=value, enable_ipv4=True, enable_ipv6=value))["networks"]
    assert (item["internal"], item["enable_ipv4"], item["enable_ipv6"]) == (True, True, True)
    [item] = from_compose(network(driver_opts={"com.docker.network.enable_ipv6": value}))["networks"]
    assert item["enable_ipv6"] is True


@pytest.mark.parametrize(
    ("enabled", "kept"),
    [
        ({}, ["192.168.20.0/24"]),
        ({"enable_ipv6": False}, ["192.168.20.0/24"]),
        ({"enable_ipv6": True}, ["192.168.20.0/24", "2001:db8::/64"]),
        ({"enable_ipv4": False, "enable_ipv6": True}, ["2001:db8::/64"]),
        ({"driver_opts": {"com.docker.network.enable_ipv6": "true"}}, ["192.168.20.0/24", "2001:db8::/64"]),
    ],
)
def test_subnets_of_a_family_that_docker_does_not_give_out_are_left_out_and_their_addresses_too(enabled, kept):
    document = network(ipam={"config": [{"subnet": "192.168.20.0/24"}, {"subnet": "2001:db8::/64"}]}, **enabled)
    document["services"] = {
        "web": {"networks": {"front": {"ipv4_address": "192.168.20.9", "ipv6_address": "2001:db8::9"}}}
    }
    result = from_compose(document)
    check_items(result)
    assert [entry["subnet"] for entry in result["networks"][0]["ipam_config"]] == kept
    assert len(result["addresses"]) == len(kept)
    families = [family for family, subnet in ((4, "192.168.20.0/24"), (6, "2001:db8::/64")) if subnet not in kept]
    expected = [f"enable_ipv{family} is not true, so Docker gives out no" for family in families]
    expected += [f"enable_ipv{family} of the network is not true" for family in families]
    assert len(result["warnings"]) == len(expected)
    assert all(words in warning for words, warning in zip(expected, result["warnings"]))


def test_the_first_address_is_no_gateway_where_a_service_has_it():
    document = compose({"web": {"networks": {"lan": {"ipv4_address": "10.0.0.1"}}}})
    document["networks"]["lan"] = {
        "driver": "ipvlan",
        "driver_opts": {"parent": "eth1", "ipvlan_mode": "l3"},
        "ipam": {"config": [{"subnet": "10.0.0.0/24"}]},
    }
    result = from_compose(document)
    assert result["networks"][1]["ipam_config"] == [{"subnet": "10.0.0.0/24", "gateway": "none"}]
    assert "'web' has 10.0.0.1, which would be the gateway" in result["warnings"][0]


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        (network(attachable=True), "networks.front.attachable: 'True' is not taken over"),
        (network(enable_ip6=False), "networks.front.enable_ip6: 'False' is not taken over"),
        (network(driver_opts={"ipvlan_mode": "l3"}), "networks.front.driver_opts.ipvlan_mode: 'l3' is not taken over"),
        (
            network(driver_opts={"com.docker.network.bridge.name": None}),
            "networks.front.driver_opts.com.docker.network.bridge.name: 'None' is not taken over",
        ),
        (
            network(ipam={"driver": "dhcp"}),
            "networks.front.ipam.driver: 'dhcp'; here addresses are given out by this collection",
        ),
        (network(ipam={"options": {"a b": "c"}}), "networks.front.ipam.options.'a b': 'c' is not taken over"),
        (network(ipam={"later": 1}), "networks.front.ipam.later: '1' is not taken over"),
        (config(subnets=["x"]), "networks.front.ipam.config[0].subnets: \"['x']\" is not taken over"),
        (attached(link_local_ips=["169.254.1.1"]), "services.web.networks.front.link_local_ips: "),
        (attached(ipv4_addres="x"), "services.web.networks.front.ipv4_addres: 'x' is not taken over"),
        (attached(driver_opts={"a": "b"}), "services.web.networks.front.driver_opts.a: 'b' is not taken over"),
        (
            compose({"web": {"extends": {"service": "x"}, "networks": ["front"]}}),
            "services.web.extends: what it brings",
        ),
        (
            {**attached(), "include": ["other.yml"]},
            "include: other files are not read; run `docker compose config` first",
        ),
    ],
)
def test_what_is_not_taken_over_is_named(document, warning):
    result = from_compose(document)
    assert [words[: len(warning)] for words in result["warnings"]] == [warning]
    assert len(result["networks"]) == 1


def test_what_says_nothing_is_not_named():
    document = network(attachable=False, internal=None, labels=None, **{"x-ours": {"a": "${B}"}})
    document["services"] = {
        "web": {"x-a": 1, "networks": {"front": {"link_local_ips": [], "aliases": None, "x-b": "$C"}}},
        "x-web": "ignored",
    }
    document["networks"]["x-lan"] = "ignored"
    assert warnings(document) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (network(name="with blank"), "network 'with blank': vlan_network will refuse it: "),
        (network(name="none"), "the network name 'none' is taken"),
        (network(driver_opts={"parent": "lo0:1"}), "parent 'lo0:1' is not the name of a link"),
        (network(driver_opts={MTU: "20"}), "vlan_network will refuse it: mtu 20"),
        (config(gateway="10.0.0.1"), "gateway 10.0.0.1 cannot be used"),
        (network(enable_ipv4=False, enable_ipv6=False), "an endpoint would have no address"),
        (attached(interface_name="a-name-of-17-bytes"), "vlan_endpoint will refuse an endpoint: ifname"),
        (compose({"web": {"container_name": "a b", "networks": ["front"]}}), "'a b' is not an endpoint name"),
    ],
)
def test_what_our_modules_refuse_is_said_and_left_as_it_is(document, words):
    [warning] = warnings(document)
    assert words in warning


# --- services -------------------------------------------------------------------------------------------------


def test_a_service_without_networks_is_on_the_default_network():
    services = {"a": None, "b": {"networks": None}, "c": {"networks": []}, "d": {"networks": {}}}
    assert warnings(compose(services)) == [
        f"services.{name}: Compose's network 'default', a bridge, is not taken over, and the service gets no endpoint on it"
        for name in services
    ]
    assert from_compose(compose(services))["endpoints"] == []
    result = from_compose(compose(services, default={"driver": "ipvlan"}), project="shop")
    assert [(item["name"], item["network"]) for item in result["endpoints"]] == [
        (f"shop-{name}-1", "shop_default") for name in services
    ]
    assert result["warnings"] == []


def test_the_default_network_may_be_external():
    document = compose({"web": {}}, default={"external": True, "name": "vlan40"})
    assert only_endpoint(document)["network"] == "vlan40"


def test_the_bridge_of_compose_by_its_name():
    [warning] = warnings(compose({"web": {"networks": ["default"]}}))
    assert warning.startswith("services.web.networks.default: Compose's network 'default', a bridge, is not taken over")


@pytest.mark.parametrize("networks", [["front"], {"front": None}, {"front": {}}, ["front", "front"]])
def test_the_forms_of_networks(networks):
    assert only_endpoint(compose({"web": {"networks": networks}})) == {
        "name": "web",
        "network": "front",
        "container": "web",
    }


@pytest.mark.parametrize("mode", ["host", "bridge", "service:db", "container:abc", "mynet"])
def test_other_modes_get_no_endpoint(mode):
    result = from_compose(compose({"web": {"network_mode": mode, "container_name": "${UNUSED}"}}))
    assert result["endpoints"] == []
    assert result["warnings"] == [
        f"services.web.network_mode: '{mode}' is not taken over; the service gets no endpoint"
    ]


def test_no_network_has_no_mac_address():
    result = from_compose(compose({"web": {"network_mode": "none", "mac_address": "02:42:00:00:00:01"}}))
    check_items(result)
    assert result["endpoints"] == [{"name": "web", "network": "none", "container": "web"}]
    assert result["warnings"] == [
        "services.web.mac_address: 02:42:00:00:00:01 is left out: without a network there is no link"
    ]


@pytest.mark.parametrize(
    "size", [{"scale": 3}, {"deploy": {"replicas": 3}}, {"deploy": {"replicas": "3"}}, {"scale": 3.0}]
)
def test_one_container_of_several_gets_endpoints(size):
    result = from_compose(compose({"web": {"networks": ["front"], **size}}), project="shop")
    assert [item["name"] for item in result["endpoints"]] == ["shop-web-1"]
    [warning] = result["warnings"]
    place = "scale" if "scale" in size else "deploy.replicas"
    assert warning.startswith(f"services.web.{place}: it is 3, and the first container alone gets endpoints")


@pytest.mark.parametrize("size", [{"scale": 1}, {"deploy": {"replicas": 1}}, {"deploy": {}}, {"deploy": None}])
def test_one_container_needs_no_word(size):
    assert warnings(compose({"web": {"networks": ["front"], **size}})) == []


def test_without_a_container_there_is_no_endpoint():
    result = from_compose(compose({"web": {"networks": ["front"], "scale": 0}}))
    assert result["endpoints"] == []
    assert result["warnings"] == ["services.web.scale: it is 0, so no container runs; the service gets no endpoint"]


def test_aliases_and_the_name_of_the_service():
    service = {"container_name": "www", "networks": {"front": {"aliases": ["shop", "www", "web", "shop"]}}}
    assert only_endpoint(compose({"web": service}))["aliases"] == ["web", "shop"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"interface_name": "lan0"}, "lan0"),
        ({"driver_opts": {IFNAME: "lan1"}}, "lan1"),
        ({"interface_name": "lan0", "driver_opts": {IFNAME: "lan1"}}, "lan0"),
        ({"interface_name": "", "driver_opts": None}, None),
    ],
)
def test_the_name_of_the_link(options, expected):
    assert only_endpoint(attached(**options)).get("ifname") == expected


def test_sysctls_of_the_link():
    value = "net.ipv4.conf.IFNAME.log_martians=1, net.ipv6.neigh.IFNAME.gc_stale_time=30"
    result = from_compose(attached(driver_opts={SYSCTLS: value}))
    check_items(result)
    assert result["endpoints"][0]["sysctls"] == {
        "net.ipv4.conf.IFNAME.log_martians": "1",
        "net.ipv6.neigh.IFNAME.gc_stale_time": "30",
    }


MAC, OTHER_MAC = "02:42:00:00:00:01", "02:42:00:00:00:02"


def macs(service: dict[str, Any], **networks: Any) -> tuple[dict[str, str], list[str]]:
    result = from_compose(compose({"web": service}, **networks))
    return {item["network"]: item["mac_address"] for item in result["endpoints"] if "mac_address" in item}, result[
        "warnings"
    ]


def test_the_mac_address_of_a_service_is_for_its_main_network():
    lan = copy.deepcopy(FRONT)
    assert macs({"mac_address": MAC, "networks": ["lan", "front"]}, lan=lan) == ({"front": MAC}, [])
    networks: dict[str, Any] = {"front": {"mac_address": OTHER_MAC}, "lan": {"priority": 10}}
    assert macs({"mac_address": MAC, "networks": networks}, lan=lan) == ({"front": OTHER_MAC, "lan": MAC}, [])
    networks = {"front": {"mac_address": MAC.upper()}}
    assert macs({"mac_address": MAC, "networks": networks}) == ({"front": MAC}, [])


@pytest.mark.parametrize(
    ("lan", "reason"),
    [
        ({"driver": "ipvlan"}, "links of 'lan' have the MAC address of their parent"),
        (
            {"driver": "macvlan", "driver_opts": {"macvlan_mode": "passthru"}},
            "links of 'lan' have the MAC address of their parent",
        ),
        ({"driver": "bridge"}, "it is that of the main network 'lan', which is not taken over"),
    ],
)
def test_a_mac_address_that_cannot_be_is_left_out_with_a_warning(lan, reason):
    networks = {"front": None, "lan": {"priority": 1}}
    found, told = macs({"mac_address": MAC, "networks": networks}, lan=lan)
    assert found == {}
    assert told[-1] == f"services.web.mac_address: {MAC} is left out: {reason}"


def test_a_mac_address_of_an_ipvlan_attachment_is_left_out():
    found, told = macs({"networks": {"lan": {"mac_address": MAC}}}, lan={"driver": "ipvlan"})
    assert found == {}
    assert told == [
        f"services.web.networks.lan.mac_address: {MAC} is left out: links of 'lan' have the MAC address of their parent"
    ]


# --- default routes -------------------------------------------------------------------------------------------


def lan(*subnets: str, **changes: Any) -> dict[str, Any]:
    return {
        **copy.deepcopy(FRONT),
        "enable_ipv6": any(":" in subnet for subnet in subnets),
        "enable_ipv4": any("." in subnet for subnet in subnets) or not subnets,
        "ipam": {"config": [{"subnet": subnet} for subnet in subnets]},
        **changes,
    }


ISOLATED = {"driver_opts": None}
L3 = {"driver": "ipvlan", "driver_opts": {"ipvlan_mode": "l3"}}


@pytest.mark.parametrize(
    ("networks", "attachments", "carrying"),
    [
        ({"a": lan(), "b": lan()}, {}, ["a"]),
        ({"a": lan(name="z"), "b": lan()}, {}, ["b"]),
        ({"a": lan(), "b": lan()}, {"b": {"gw_priority": 1}}, ["b"]),
        ({"a": lan(), "b": lan()}, {"a": {"gw_priority": -1}}, ["b"]),
        ({"a": lan(), "b": lan()}, {"b": {"priority": 100}}, ["b"]),
        ({"a": lan(), "b": lan()}, {"a": {"priority": 1000}, "b": {"gw_priority": 1}}, ["b"]),
        ({"a": lan(internal=True), "b": lan()}, {}, ["b"]),
        # Docker gives it to none of the others then, but one that has no gateway cannot carry it.
        ({"a": lan(internal=True), "b": lan()}, {"a": {"gw_priority": 9}}, ["b"]),
        ({"a": lan(**ISOLATED), "b": lan(**ISOLATED)}, {}, []),
        ({"a": lan(**ISOLATED), "b": lan(**L3)}, {}, ["b"]),
        ({"a": lan("10.0.0.0/31"), "b": lan("10.0.1.0/24")}, {}, ["b"]),
        ({"a": lan("10.0.0.0/24"), "b": lan("10.0.1.0/24", "2001:db8::/64")}, {}, ["b"]),
        ({"a": lan("10.0.0.0/24"), "b": lan("2001:db8::/64")}, {}, ["a", "b"]),
        ({"a": {"external": True}, "b": lan()}, {}, ["a"]),
        ({"a": lan(), "b": {"external": True}}, {}, ["a"]),
    ],
)
def test_which_network_carries_the_default_route(networks, attachments, carrying):
    service = {"networks": {key: attachments.get(key) for key in networks}}
    result = from_compose({"services": {"web": service}, "networks": networks})
    check_items(result)
    names = {networks[key].get("name", key): key for key in networks}
    assert {names[item["network"]]: item["default_route"] for item in result["endpoints"]} == {
        key: key in carrying for key in networks
    }
    assert not any("default route" in warning for warning in result["warnings"])


def test_a_default_route_of_one_family_that_is_left_out_is_named():
    networks = {"a": lan("10.0.0.0/24"), "b": lan("10.0.1.0/24", "2001:db8::/64")}
    document = {"services": {"web": {"networks": {"a": {"gw_priority": 1}, "b": None}}}, "networks": networks}
    result = from_compose(document)
    assert [item["default_route"] for item in result["endpoints"]] == [True, False]
    assert result["warnings"] == [
        "services.web: it gets no default route of IPv6: the networks that have one also have one of the other family, which "
        "'a' carries"
    ]


@pytest.mark.parametrize("other", [{"driver": "bridge"}, {"external": True, "name": "host"}])
def test_a_single_network_leaves_it_to_the_module(other):
    service = {"networks": {"front": {"gw_priority": 5}, "lan": {"gw_priority": 9}}}
    assert "default_route" not in only_endpoint(compose({"web": service}, lan=other))


# --- variables ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (network(driver_opts={"parent": "${PARENT}"}), "PARENT (networks.front.driver_opts.parent)"),
        (network(driver="$DRIVER"), "DRIVER (networks.front.driver)"),
        (network(external="${EXT:?is missing}"), "EXT (networks.front.external)"),
        (config(gateway="${NET-10.0}.1"), "NET (networks.front.ipam.config[0].gateway)"),
        (network(labels=["a=${A:-${B}}"]), "A (networks.front.labels[0]); B (networks.front.labels[0])"),
        (compose({"web": {"networks": ["${NET}"]}}), "NET (services.web.networks[0])"),
        (compose({"web": {"network_mode": "${MODE}"}}), "MODE (services.web.network_mode)"),
        (compose({"web": {"container_name": "$N", "networks": ["front"]}}), "N (services.web.container_name)"),
        (compose({"web": {"scale": "${S}", "networks": ["front"]}}), "S (services.web.scale)"),
        (
            compose({"web": {"deploy": {"replicas": "${R}"}, "networks": ["front"]}}),
            "R (services.web.deploy.replicas)",
        ),
        (attached(ipv4_address="192.168.20.${LAST}"), "LAST (services.web.networks.front.ipv4_address)"),
    ],
)
def test_variables_in_what_is_taken_over_are_named(document, words):
    with pytest.raises(AnsibleFilterError) as failure:
        from_compose(document)
    assert str(failure.value) == (
        f"netops.underlay.from_compose: variables are not filled in: {words}. Run `docker compose config` first, which fills "
        "them in"
    )


def test_variables_of_several_places_are_named_together():
    document = network(driver_opts={"parent": "${PARENT}"}, lan="${NOT_READ}")
    document["networks"]["back"] = {"driver": "${DRIVER}"}
    document["services"] = {"web": {"network_mode": "$MODE"}}
    with pytest.raises(AnsibleFilterError) as failure:
        from_compose(document)
    for name in ("PARENT (", "DRIVER (", "MODE ("):
        assert name in str(failure.value)


def test_two_dollars_are_one_and_no_variable():
    [item] = from_compose(network(labels={"a": "$$", "b": "$${X}", "c": "5$", "d": "$1"}))["networks"]
    assert item["labels"] == {"a": "$", "b": "${X}", "c": "5$", "d": "$1"}


# --- bad files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "the input has to be a Compose file as a dictionary; it is 'None'"),
        ([], "the input has to be a Compose file as a dictionary"),
        ("[]", "the input has to be a Compose file as a dictionary"),
        (5, "it is '5'"),
        ("", "the input is text, but no JSON"),
        ("services:\n  web:\n", "give the parsed YAML (the filter from_yaml does that)"),
        ("[" * 100000, "the input is text, but no JSON"),
        ({}, "the input has neither 'networks' nor 'services'"),
        ({"web": {"image": "x"}}, "give a Compose file as a whole"),
        ({"networks": ["front"]}, "networks has to be a dictionary"),
        ({"services": "web"}, "services has to be a dictionary"),
        ({"services": {True: {}}}, "services: the name 'True' has to be text, and YAML reads 'True' as something else"),
        ({"networks": {20: {}}}, "networks: the name '20' has to be text"),
        ({"networks": {"": {}}}, "networks: the name '' is missing"),
        ({"networks": {"a b": "x"}}, "networks.'a b' has to be a dictionary; it is 'x'"),
        (network(driver=["macvlan"]), "networks.front.driver has to be text"),
        (network(name=5), "networks.front.name has to be text, and YAML reads '5' as something else; put it in quotes"),
        (network(external=["x"]), "networks.front.external has to be true or false"),
        (network(external="perhaps"), "networks.front.external has to be true or false; it is 'perhaps'"),
        (network(external={"name": []}), "networks.front.external.name has to be text"),
        (network(internal=0), "networks.front.internal has to be true or false; it is '0'"),
        (network(enable_ipv6="maybe"), "networks.front.enable_ipv6 has to be true or false; it is 'maybe'"),
        (
            network(driver_opts={"com.docker.network.enable_ipv4": 2}),
            "networks.front.driver_opts.com.docker.network.enable_ipv4 has to be true or false; it is '2'",
        ),
        (
            compose(front={"driver": "macvlan", "driver_opts": ["parent=eth0"]}),
            "networks.front.driver_opts has to be a",
        ),
        (network(driver_opts={"parent": 5}), "networks.front.driver_opts.parent has to be text"),
        (network(driver_opts={"macvlan_mode": "l2"}), "networks.front.driver_opts.macvlan_mode: 'l2' is not one of"),
        (network(driver_opts={"macvlan_mode": False}), "networks.front.driver_opts.macvlan_mode has to be text"),
        (network(driver_opts={MTU: "big"}), f"networks.front.driver_opts.{MTU} has to be a number; it is 'big'"),
        (network(driver_opts={MTU: float("inf")}), f"networks.front.driver_opts.{MTU} has to be a number"),
        (network(ipam="default"), "networks.front.ipam has to be a dictionary"),
        (network(ipam={"options": []}), "networks.front.ipam.options has to be a dictionary"),
        (network(ipam={"config": {"subnet": "10.0.0.0/8"}}), "networks.front.ipam.config has to be a list"),
        (network(ipam={"config": ["10.0.0.0/8"]}), "networks.front.ipam.config[0] has to be a dictionary"),
        (network(ipam={"config": [{"gateway": "10.0.0.1"}]}), "networks.front.ipam.config[0].subnet is missing"),
        (config(subnet="10.0.0.0"), "networks.front.ipam.config[0].subnet '10.0.0.0' is not a subnet such as"),
        (config(subnet="10.0.0.0/33"), "networks.front.ipam.config[0].subnet '10.0.0.0/33' is not a subnet"),
        (config(subnet=10), "networks.front.ipam.config[0].subnet has to be text; it is '10'"),
        (config(gateway="here"), "networks.front.ipam.config[0].gateway 'here' is not an IP address"),
        (config(gateway=0), "networks.front.ipam.config[0].gateway has to be text; it is '0'"),
        (config(ip_range="x/y"), "networks.front.ipam.config[0].ip_range 'x/y' is not a subnet"),
        (config(aux_addresses=["x"]), "networks.front.ipam.config[0].aux_addresses has to be a dictionary"),
        (config(aux_addresses={"r": "x"}), "networks.front.ipam.config[0].aux_addresses: r 'x' is not an IP address"),
        (network(labels=5), "networks.front.labels has to be a dictionary"),
        (network(labels=[5]), "networks.front.labels[0] has to be text"),
        (network(labels={"a": []}), "networks.front.labels.a has to be text"),
        (network(labels={5: "a"}), "networks.front.labels: the name '5' has to be text"),
        (compose({"web": "nginx"}), "services.web has to be a dictionary; it is 'nginx'"),
        (compose({"web": {"networks": "front"}}), "services.web.networks has to be a list or a dictionary"),
        (compose({"web": {"networks": 0}}), "services.web.networks has to be a list or a dictionary; it is '0'"),
        (compose({"web": {"networks": [{"front": {}}]}}), "services.web.networks[0] has to be text"),
        (compose({"web": {"networks": {True: {}}}}), "services.web.networks: the name 'True' has to be text"),
        (compose({"web": {"networks": {"front": "x"}}}), "services.web.networks.front has to be a dictionary"),
        (
            compose({"web": {"networks": ["back"]}}),
            "services.web.networks.back: 'networks' of the file has no 'back'; if it stands in another file, run `docker "
            "compose config` first, which joins them",
        ),
        (
            compose({"web": {"networks": ["front"], "network_mode": "none"}}),
            "services.web has both network_mode and networks; Compose takes one of them",
        ),
        (compose({"web": {"network_mode": True}}), "services.web.network_mode has to be text"),
        (compose({"web": {"networks": ["front"], "container_name": 5}}), "services.web.container_name has to be text"),
        (compose({"web": {"networks": ["front"], "scale": "many"}}), "services.web.scale has to be a whole number"),
        (compose({"web": {"networks": ["front"], "scale": True}}), "services.web.scale has to be a whole number"),
        (compose({"web": {"networks": ["front"], "deploy": 3}}), "services.web.deploy has to be a dictionary"),
        (
            compose({"web": {"networks": ["front"], "deploy": {"replicas": 1.5}}}),
            "services.web.deploy.replicas has to be a whole number; it is '1.5'",
        ),
        (
            compose({"web": {"networks": ["front"]}, "b": {"container_name": "web", "networks": ["front"]}}),
            "services.b: its container would have the name 'web', which services.web has",
        ),
        (
            compose({"web": {"networks": {"front": {"mac_address": MAC}}, "mac_address": OTHER_MAC}}),
            f"services.web.mac_address is {OTHER_MAC}, but that of its main network 'front' is {MAC}",
        ),
        (compose({"web": {"networks": ["front"], "mac_address": "x"}}), "services.web.mac_address 'x' is not a MAC"),
        # YAML reads 10:20:30:40:50:51 as a number of base 60.
        (attached(mac_address=8041835451), "services.web.networks.front.mac_address has to be text, and YAML reads"),
        (attached(ipv4_address="2001:db8::1"), "front.ipv4_address '2001:db8::1' is not an IPv4 address"),
        (attached(ipv6_address="10.0.0.1"), "front.ipv6_address '10.0.0.1' is not an IPv6 address"),
        (attached(ipv4_address="dhcp"), "services.web.networks.front.ipv4_address 'dhcp' is not an IP address"),
        (attached(ipv4_address=10.1), "services.web.networks.front.ipv4_address has to be text"),
        (attached(aliases="www"), "services.web.networks.front.aliases has to be a list"),
        (attached(aliases=["www", 5]), "services.web.networks.front.aliases[1] has to be text"),
        (attached(interface_name=["x"]), "services.web.networks.front.interface_name has to be text"),
        (attached(priority="high"), "services.web.networks.front.priority has to be a whole number; it is 'high'"),
        (attached(gw_priority=[]), "services.web.networks.front.gw_priority has to be a whole number"),
        (attached(driver_opts="x"), "services.web.networks.front.driver_opts has to be a dictionary"),
        (attached(driver_opts={SYSCTLS: 5}), f"services.web.networks.front.driver_opts.{SYSCTLS} has to be text"),
        (
            attached(driver_opts={SYSCTLS: "net.ipv4.conf.IFNAME.rp_filter"}),
            f"{SYSCTLS}: 'net.ipv4.conf.IFNAME.rp_filter' is not NAME=VALUE",
        ),
        (attached(driver_opts={SYSCTLS: "a=1,"}), f"{SYSCTLS}: '' is not NAME=VALUE"),
    ],
)
def test_bad_files_are_named(value, words):
    with pytest.raises(AnsibleFilterError) as failure:
        from_compose(value)
    assert words in str(failure.value)
    assert str(failure.value).startswith("netops.underlay.from_compose: ")


@pytest.mark.parametrize("target", ["pid", "", None, ["netns"]])
def test_a_target_that_does_not_exist(target):
    with pytest.raises(AnsibleFilterError, match=r"target .* is not one of container, netns"):
        from_compose(attached(), target=target)


@pytest.mark.parametrize("project", ["Shop", "a b", "-a", 5, ["shop"], "é"])
def test_a_project_that_cannot_be(project):
    with pytest.raises(AnsibleFilterError, match=r"project .* is not the name of a Compose project"):
        from_compose(attached(), project=project)


def test_a_file_without_end():
    options: dict[str, Any] = {}
    options["driver_opts"] = {"again": options}
    with pytest.raises(AnsibleFilterError, match="is nested too deeply"):
        from_compose(attached(**options))


# --- any input ------------------------------------------------------------------------------------------------

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.sampled_from(
        """macvlan ipvlan bridge none host l2 l3 l3s passthru eth0.20 true no 3 a=b $X ${X} $$ x=1,y=2 front back default
        10.0.0.0/24 10.0.0.1 10.0.0.0/31 fd00::/64 fd00::1 fe80::1%eth0 fe80::%1/64 0.0.0.0/0 02:42:00:00:00:01 web db""".split()
    ),
)
anything = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd, inner, max_size=3),
    max_leaves=6,
)


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What should be there, and sometimes what should not."""
    return st.integers(0, 30).flatmap(lambda number: anything if number == 30 else strategy)


def some_of(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    values = st.fixed_dictionaries({}, optional={key: mostly(value) for key, value in known.items()})
    return st.builds(lambda more, values: {**more, **values}, st.dictionaries(odd, odd, max_size=1), values)


def of(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


flags = st.booleans() | of("true no")
subnets = st.lists(
    some_of(
        subnet=of("10.0.0.0/24 10.0.0.5/24 10.1.0.0/31 2001:db8::/64 0.0.0.0/0"),
        gateway=of("10.0.0.1 10.9.9.9 2001:db8::1"),
        ip_range=of("10.0.0.128/25 2001:db8::/80"),
        aux_addresses=st.dictionaries(of("router nas"), mostly(of("10.0.0.7")), max_size=2),
    ).map(lambda entry: {"subnet": "10.2.0.0/24", **entry}),
    max_size=3,
)


def network_definitions(driver: str, **driver_opts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return some_of(
        driver_opts=some_of(
            parent=of("eth0.20 eth0.30"),
            **driver_opts,
            **{MTU: st.just(1400), "com.docker.network.enable_ipv6": of("true false"), "later": odd},
        ),
        name=of("vlan20 vlan30 none"),
        external=st.just(False) | flags | some_of(name=of("vlan40 none host")),
        internal=flags,
        enable_ipv4=flags,
        enable_ipv6=flags,
        attachable=flags,
        labels=st.dictionaries(of("a b"), mostly(st.none() | flags), max_size=2) | st.lists(of("a b=c"), max_size=2),
        ipam=some_of(driver=of("default dhcp"), config=subnets, options=st.dictionaries(odd, odd, max_size=1)),
    ).map(lambda definition: {"driver": driver, **definition})


macvlans = network_definitions("macvlan", macvlan_mode=of("bridge passthru"))
ipvlans = network_definitions("ipvlan", ipvlan_mode=of("l2 l3 l3s"), ipvlan_flag=of("bridge private"))
keys = of("front back default")
attachments = some_of(
    ipv4_address=of("10.0.0.1 10.0.0.9"),
    ipv6_address=of("2001:db8::9 fe80::1%eth0"),
    mac_address=of("02:42:00:00:00:01 03:00:00:00:00:00"),
    aliases=st.lists(mostly(of("www web localhost")), max_size=3),
    link_local_ips=st.lists(odd, max_size=1),
    interface_name=of("eth0 lo a-name-that-is-too-long"),
    priority=st.integers(-3, 3) | of("1 2"),
    gw_priority=st.integers(-3, 3),
    driver_opts=some_of(**{SYSCTLS: of("net.ipv4.conf.IFNAME.rp_filter=1 a=b,c=d"), IFNAME: of("lan0"), "later": odd}),
)
services = some_of(
    container_name=of("web1 db1 localhost"),
    mac_address=of("02:42:00:00:00:01"),
    scale=st.integers(0, 3),
    deploy=some_of(replicas=st.integers(0, 3) | of("2")),
    extends=st.just({"service": "base"}),
    image=odd,
).flatmap(
    lambda service: st.one_of(
        st.lists(keys, max_size=3).map(lambda value: {**service, "networks": value}),
        st.dictionaries(keys, st.none() | attachments, max_size=3).map(lambda value: {**service, "networks": value}),
        of("none host service:web").map(lambda value: {**service, "network_mode": value}),
    )
)
documents = some_of(
    name=of("shop"),
    include=st.just(["more.yml"]),
    networks=st.fixed_dictionaries(
        {"front": mostly(macvlans), "back": mostly(ipvlans)}, optional={"default": macvlans | st.none(), "x-own": odd}
    ),
    services=st.dictionaries(of("web db app x-own _web"), mostly(st.none() | services), min_size=1, max_size=3),
).map(lambda document: {"networks": {"front": FRONT, "back": {"driver": "ipvlan"}}, **document})


@given(mostly(documents), of("container netns"), st.none() | of("shop"))
def test_nothing_but_a_result_or_words_for_the_user(document, target, project):
    before = copy.deepcopy(document)
    try:
        result = from_compose(document, target=target, project=project)
    except AnsibleFilterError as error:
        assert str(error).startswith("netops.underlay.from_compose: ")
    else:
        assert set(result) == set(NOTHING)
        assert all(isinstance(warning, str) for warning in result["warnings"])
        assert all(item[target] == item["name"] for item in result["endpoints"])
        assert len({item["name"] for item in result["networks"]}) == len(result["networks"])
        json.dumps(result)
    assert repr(document) == repr(before), "the input is not changed"


@given(st.text() | st.text('[]{}",:0123456789netwroksvic', max_size=40))
def test_any_text_is_answered(text):
    with pytest.raises(AnsibleFilterError):
        from_compose(text)


good_networks = st.fixed_dictionaries(
    {"driver": of("macvlan ipvlan")},
    optional={
        "internal": st.booleans(),
        "enable_ipv6": st.booleans(),
        "driver_opts": st.just({"parent": "eth0.20"}),
        "ipam": st.sampled_from(
            [
                {"config": [{"subnet": "10.0.0.0/24"}]},
                {"config": [{"subnet": "10.0.0.0/24"}, {"subnet": "2001:db8::/64"}]},
            ]
        ),
    },
)
good_attachments = st.none() | st.fixed_dictionaries(
    {}, optional={"priority": st.integers(0, 3), "gw_priority": st.integers(-3, 3), "ipv4_address": st.just("10.0.0.9")}
)


@given(
    st.dictionaries(of("a b c d"), good_networks, min_size=1),
    st.dictionaries(of("web db app"), st.dictionaries(of("a b c d"), good_attachments, min_size=1)),
)
def test_a_good_file_gives_what_the_modules_take(networks, services):
    document = {
        "networks": networks,
        "services": {
            name: {"networks": {key: value for key, value in joined.items() if key in networks}}
            for name, joined in services.items()
        },
    }
    result = from_compose(document, project="shop")
    check_items(result)
    by_name = {item["name"]: item for item in result["networks"]}
    assert set(by_name) == {f"shop_{key}" for key in networks}
    for name, joined in services.items():
        mine = [item for item in result["endpoints"] if item["name"] == f"shop-{name}-1"]
        assert {item["network"] for item in mine} == {f"shop_{key}" for key in joined if key in networks}
        if len(mine) > 1:
            carrying = [by_name[item["network"]] for item in mine if item["default_route"]]
            can = [by_name[item["network"]] for item in mine if "parent" in by_name[item["network"]]]
            assert len(carrying) == bool([item for item in can if not item["internal"]])
            assert not any(item["internal"] for item in carrying)


# --- through Ansible ------------------------------------------------------------------------------------------


def play(folder: Path, task: dict[str, Any], **variables: Any) -> subprocess.CompletedProcess[str]:
    """Runs a task with Ansible itself, on the controller."""
    book = folder / "play.yml"
    plays = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": variables, "tasks": [task]}]
    book.write_text(yaml.safe_dump(plays))
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".work" / "collections"),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
    }
    command = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", str(book)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=folder)


def test_the_filter_is_found_by_its_name(tmp_path):
    (tmp_path / "compose.yml").write_text(WRITTEN)
    file = "lookup('ansible.builtin.file', 'compose.yml') | from_yaml"
    task = {
        "ansible.builtin.assert": {
            "that": [
                f"({file} | netops.underlay.from_compose(project='shop')) == of_file",
                f"({file} | netops.underlay.from_compose(target='netns')).endpoints[0].netns == 'web'",
                "(printed | netops.underlay.from_compose(project='shop')) == of_printed",
            ]
        }
    }
    done = play(
        tmp_path,
        task,
        of_file=from_compose(written(), project="shop"),
        printed=PRINTED,
        of_printed=from_compose(PRINTED, project="shop"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""


def test_an_error_reaches_the_user_in_words(tmp_path):
    done = play(tmp_path, {"ansible.builtin.debug": {"msg": "{{ {'a': 1} | netops.underlay.from_compose }}"}})
    assert done.returncode != 0
    assert "netops.underlay.from_compose: the input has neither" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_the_documentation_has_what_the_filter_takes_and_returns():
    document = yaml.safe_load(DOCUMENT.read_text())
    assert document["DOCUMENTATION"]["name"] == "from_compose"
    assert set(document["DOCUMENTATION"]["options"]) == {"_input", "target", "project"}
    assert set(document["RETURN"]["_value"]["contains"]) == set(NOTHING)
    check_items({key: part["sample"] for key, part in document["RETURN"]["_value"]["contains"].items()})
    assert "netops.underlay.from_compose" in str(yaml.safe_load(document["EXAMPLES"]))
