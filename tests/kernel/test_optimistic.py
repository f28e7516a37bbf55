# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""IPv6 addresses that are used while the kernel asks for duplicates, on a kernel that can, and the refusal on one that cannot.

Of the kernels that the tests run on the guest's cannot; so `make test-kernel` runs this file a second time, on this machine's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import looks
from .conftest import Host, batch, sweep
from .test_conflicts import of_six, solicitations

CAN = Path("/proc/sys/net/ipv6/conf/default/optimistic_dad").exists()
SUBNETS = [{"subnet": "10.9.0.0/24"}, {"subnet": "2001:db8:9::/64"}]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with eth0, and at its other end a station that has an address of the network."""
    sweep()
    batch("netns add peer\nlink add eth0 type veth peer name far netns peer\nlink set eth0 up\n")
    batch("link set lo up\nlink set far up\naddr add 2001:db8:9::3/64 dev far nodad\n", netns="peer")
    made = Host(tmp_path / "state")
    made.network("net", driver="macvlan", parent="eth0", ipam_config=SUBNETS, announce={"count": 0})
    yield made
    sweep()


def optimistic(host: Host) -> bool:
    """Makes the network so; whether this kernel can. One that cannot is refused, with nothing changed."""
    if CAN:
        host.network("net", ipv6_dad="optimistic")
        return True
    before = looks.everything(host)
    message = host.refused("vlan_network", name="net", ipv6_dad="optimistic")
    assert message == (
        "name 'net': ipv6_dad optimistic cannot be had: this kernel was built without it (CONFIG_IPV6_OPTIMISTIC_DAD); "
        "choose nodad or wait"
    )
    assert looks.everything(host) == before
    return False


def test_the_kernel_asks_once_and_stops_using_what_another_has(host: Host, tell: Callable[[str, int], None]) -> None:
    tell("kernels with optimistic duplicate address detection", int(CAN))
    if not optimistic(host):
        return
    with looks.captured("peer", "far") as heard:
        looks.done(host, "vlan_endpoint", name="web1", network="net", netns="web1", ipv6_address="2001:db8:9::3")
        looks.until(lambda: "dadfailed" in of_six("web1"), "the kernel found the duplicate")
        assert len(solicitations([frame for _tag, frame in heard()], "2001:db8:9::3")) == 1
    host.endpoint("web2", "net", ipv6_address="2001:db8:9::4")
    looks.until(lambda: not of_six("web2").keys() & {"tentative", "optimistic"}, "the kernel found none")
    assert "dadfailed" not in of_six("web2")


def test_meanwhile_the_address_is_used(host: Host) -> None:
    """Without a carrier the kernel does not even begin to ask, so that what is before can be seen. An address that an endpoint
    had before the network was made so stays as it is."""
    host.endpoint("web1", "net")
    if not optimistic(host):
        return
    batch("link set far down", netns="peer")
    host.endpoint("web2", "net")
    assert of_six("web2").get("optimistic") is True
    looks.done(host, "vlan_endpoint", name="web1", network="net", netns="web1")
    assert "optimistic" not in of_six("web1")
