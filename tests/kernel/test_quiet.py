"""A second run writes nothing: a listener in every namespace hears nothing, and no request leaves the writing files."""

from __future__ import annotations

import os
import select
import socket
from contextlib import contextmanager

from .conftest import VLANS, writes_counted

# include/uapi/linux/rtnetlink.h: links, IPv4 and IPv6 addresses and routes
GROUPS = sum(1 << (number - 1) for number in (1, 5, 7, 9, 11))


@contextmanager
def listening(names):
    """Sockets inside the namespaces (None: the host's) that hear of every change there; gives a function that says how
    many messages each has heard since the last call, and one that waits for silence."""
    from ansible_collections.netops.underlay.plugins.module_utils import namespaces

    sockets = {}
    for name in names:
        descriptor = os.open("/proc/self/ns/net" if name is None else f"/run/netns/{name}", os.O_RDONLY)
        with namespaces.entered(descriptor):
            heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        os.close(descriptor)
        heard.bind((0, GROUPS))
        heard.setblocking(False)
        sockets[name] = heard

    def count():
        found = dict.fromkeys(sockets, 0)
        for name, heard in sockets.items():
            while True:
                try:
                    heard.recv(65536)
                except BlockingIOError:
                    break
                found[name] += 1
        return {name: number for name, number in found.items() if number}

    def settle():
        """Returns when nothing has been heard for three seconds: the kernel's link watch works once a second."""
        while select.select(list(sockets.values()), [], [], 3)[0]:
            count()

    yield count, settle
    for heard in sockets.values():
        heard.close()


def tasks():
    networks = [
        {"name": f"vlan{vlan}", "parent": f"eth0.{vlan}", "driver": driver, "ipam_config": [{"subnet": subnet}]}
        for vlan, driver, subnet in zip(
            VLANS, ("ipvlan", "macvlan", "ipvlan"), ("172.16.80.0/24", "172.16.48.0/22", "10.1.0.0/16")
        )
    ]
    networks += [{"name": "alone"}, {"name": "six", "ipam_config": [{"subnet": "2001:db8::/64"}]}]
    endpoints = [
        {"name": f"w{number}", "network": network["name"], "netns": f"{network['name']}-{number}"}
        for network in networks
        for number in (1, 2)
    ]
    addresses = [{"network": "alone", "owner": "vm"}, {"network": "six", "owner": "vm", "family": "ipv6"}]
    return (
        ("vlan_network", {"networks": networks, "purge": True}),
        ("vlan_endpoint", {"endpoints": endpoints, "purge": True}),
        ("vlan_ipam", {"addresses": addresses}),
        ("vlan_network_info", {}),
        ("vlan_endpoint_info", {}),
        ("vlan_ipam_info", {}),
    )


def test_a_second_run_changes_nothing_and_writes_nothing(host):
    for module, params in tasks():
        host.run(module, **params)
    with listening([None, *host.namespaces()]) as (heard, settle), writes_counted() as writes:
        settle()  # what the kernel does by itself after links came up is no part of this
        for module, params in tasks():
            result = host.run(module, **params)
            assert not result["changed"], (module, result["actions"])
            assert not result.get("actions") and result.get("diff", {"before": {}, "after": {}}) == {
                "before": {},
                "after": {},
            }
        assert writes == [] and heard() == {}
        # The control: one forced write is caught by both.
        host.endpoint("w1", "alone", netns="alone-1", mac_address=None, ifname="other")
        assert writes and "alone-1" in heard()
