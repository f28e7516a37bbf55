#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_endpoint
short_description: Put network namespaces and containers on VLANs
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - An endpoint is one link of a network inside a namespace or a container, with its addresses, its routes and its names. It
    appears on the VLAN like a machine of its own.
  - One task can carry one endpoint by its own options, or many in O(endpoints); a thousand of them are one task.
  - Options that are left out keep what an endpoint has.
extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.managing
options:
  name:
    description:
      - Name of the endpoint, unique in its network. A letter or digit, then letters, digits, C(_), C(.), C(-), up to 64
        characters.
    type: str
  network:
    description:
      - Name of the network. V(none) is there always - a namespace or container on it has its loopback and nothing else, up, with
        C(127.0.0.1/8) and without C(::1); it cannot be on another network.
      - Beside O(endpoints) it is the network of those that name none, and one that O(purge) covers.
    type: str
  netns:
    description:
      - Named namespace to put the endpoint in, as C(ip netns) lists it. It is made if it does not exist, and a namespace that
        was made is removed with its last endpoint unless something else is in it.
      - Exactly one of O(netns), O(netns_path), O(pid), O(container) and O(host) is given.
    type: str
  netns_path:
    description:
      - Path of a namespace that exists.
    type: path
  pid:
    description:
      - Process whose namespace it is.
    type: int
  container:
    description:
      - Name of a running container of Docker or Podman, which should have been started with C(--network none). A container that
        was restarted gets its endpoint back, with the same address, by the next run.
      - A container of a rootless engine cannot be used - macvlan and ipvlan need the host's root.
    type: str
  container_engine:
    description:
      - The engine that has O(container). If left out or V(auto), whichever has one of this name.
    type: str
    choices: [auto, docker, podman]
  host:
    description:
      - Puts the endpoint into the host's own namespace, so that the host reaches the other endpoints of the network, and they it
        by the endpoint's address. The host gets one route to each of them, and none to the subnet, so its own LAN stays as it
        is. Of each network, and of networks with the same subnet, one
        endpoint can be there. The link is called C(underlay0), C(underlay1) and so on if O(ifname) is left out.
    type: bool
  ipv4_address:
    description:
      - IPv4 address. If left out, the lowest free one.
    type: str
    aliases: [ip]
  ipv6_address:
    description:
      - IPv6 address. If left out, the lowest free one, if the network has an IPv6 subnet.
    type: str
    aliases: [ip6]
  mac_address:
    description:
      - MAC address, for macvlan networks. If left out, C(02:42:) and the IPv4 address, the same on every run.
      - It is best put in quotes, since YAML takes one without letters, such as C(52:54:00:12:34:56), for a number.
    type: str
  ifname:
    description:
      - Name of the link inside the namespace, up to 15 characters. If left out, the first free of C(eth0), C(eth1) and so on.
    type: str
  default_route:
    description:
      - Whether this endpoint carries the default route of its namespace. If left out, it is decided when the endpoint is made,
        and kept - V(true) unless the namespace has a default route by then, or another endpoint of the task asks for it; the
        first in a list wins.
    type: bool
  aliases:
    description:
      - Further names. The endpoints of a network find each other by name and alias, since both stand in the hosts files of
        their targets - C(/etc/netns/NAME/hosts) of a named namespace, which C(ip netns exec) uses, and the container's own
        C(/etc/hosts). A target given by O(netns_path), O(pid) or O(host) has none.
    type: list
    elements: str
  sysctls:
    description:
      - Settings of the endpoint's own link, such as C(net.ipv4.conf.IFNAME.rp_filter), with C(IFNAME) in the place of its name.
        One that is taken out again keeps its value until the link is made anew.
    type: dict
  conflict_check:
    description:
      - Whether the wire is asked, before this endpoint gets an address, if another station has it. If left out, what its network
        says. It is about this task alone, and not kept.
    type: bool
  force:
    description:
      - Does what cuts the host's own default route, or the connection that Ansible came in on. Without it that is refused, before
        anything is changed.
      - Endpoints of a V(passthru) network can cut them, which takes all that comes in on its parent, and the removal or change of
        one with O(host=true).
    type: bool
  keep:
    description:
      - With O(state=absent), whether its addresses stay held for the endpoint, so that it gets them again when it comes back.
        They are released by O(state=absent) without it. Beside O(endpoints) it is that of those that have none.
    type: bool
  state:
    description:
      - Whether the endpoint is to be there. V(present) if left out. Beside O(endpoints) it is the state of those that have none.
    type: str
    choices: [present, absent]
  endpoints:
    description:
      - The endpoints, each with the options above.
    type: list
    elements: dict
    suboptions:
      name:
        description: See O(name).
        type: str
        required: true
      network:
        description: See O(network).
        type: str
      netns:
        description: See O(netns).
        type: str
      netns_path:
        description: See O(netns_path).
        type: path
      pid:
        description: See O(pid).
        type: int
      container:
        description: See O(container).
        type: str
      container_engine:
        description: See O(container_engine).
        type: str
        choices: [auto, docker, podman]
      host:
        description: See O(host).
        type: bool
      ipv4_address:
        description: See O(ipv4_address).
        type: str
        aliases: [ip]
      ipv6_address:
        description: See O(ipv6_address).
        type: str
        aliases: [ip6]
      mac_address:
        description: See O(mac_address).
        type: str
      ifname:
        description: See O(ifname).
        type: str
      default_route:
        description: See O(default_route).
        type: bool
      aliases:
        description: See O(aliases).
        type: list
        elements: str
      sysctls:
        description: See O(sysctls).
        type: dict
      conflict_check:
        description: See O(conflict_check).
        type: bool
      force:
        description: See O(force).
        type: bool
      keep:
        description: See O(keep).
        type: bool
      state:
        description: See O(state).
        type: str
        choices: [present, absent]
  purge:
    description:
      - Removes the endpoints that are not in O(endpoints), of the networks named there and in O(network).
    type: bool
    default: false
  purge_all:
    description:
      - With O(purge), removes the endpoints that are not in O(endpoints) of every network. Has to be V(true) if O(endpoints) is
        empty and no O(network) is named.
    type: bool
    default: false
notes:
  - In check mode a network that a task before would make is not there yet, and a task that needs it fails. With that task's result
    registered as C(net), the condition C(net is not changed or not ansible_check_mode) leaves it out then; the role C(vlan_map)
    does so by itself.
seealso:
  - module: netops.underlay.vlan_network
  - module: netops.underlay.vlan_endpoint_info
"""

EXAMPLES = r"""
- name: The network of the examples
  netops.underlay.vlan_network:
    name: ipvlan20
    parent: eth0.20
    ipam_config:
      - subnet: 192.168.20.0/24

- name: A namespace on VLAN 20
  netops.underlay.vlan_endpoint:
    name: web1
    network: ipvlan20
    netns: web1

- name: Several, one with an address of its own, and no other endpoint on this network
  netops.underlay.vlan_endpoint:
    network: ipvlan20
    endpoints:
      - name: web1
        netns: web1
      - name: web2
        netns: web2
        ipv4_address: 192.168.20.10
        ifname: lan0
    purge: true

- name: Found by a second name, and by the host, too
  netops.underlay.vlan_endpoint:
    network: ipvlan20
    endpoints:
      - name: web1
        netns: web1
        aliases: [www]
      - name: gate
        host: true

- name: A namespace with nothing but its loopback
  netops.underlay.vlan_endpoint:
    name: vault
    network: none
    netns: vault

- name: Take one away
  netops.underlay.vlan_endpoint:
    name: web2
    network: ipvlan20
    state: absent

- name: Take one away for a while; its address waits for it
  netops.underlay.vlan_endpoint:
    name: web1
    network: ipvlan20
    state: absent
    keep: true
"""

RETURN = r"""
endpoints:
  description: The endpoints of the task as they are now (in check mode, as they would be), in their order.
  returned: success
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      name: web1
      driver: ipvlan
      target: {kind: netns, value: web1}
      ifname: eth0
      mac_address: "52:54:00:12:34:56"
      mtu: 1500
      ipv4: {address: 192.168.20.2, prefixlen: 24, gateway: 192.168.20.1}
      ipv6: null
      routes:
        - {destination: default, gateway: 192.168.20.1, family: ipv4}
        - {destination: 192.168.20.0/24, gateway: null, family: ipv4}
      default_route: true
      aliases: [www]
      sysctls: {}
      hosts_file: /etc/netns/web1/hosts
      state: attached
actions:
  description: What was done (in check mode, what would be), in order.
  returned: success
  type: list
  elements: dict
  sample:
    - {action: allocate, kind: address, name: 192.168.20.2, changes: {owner: {before: null, after: web1}}}
    - {action: create, kind: namespace, name: web1, changes: {}}
    - {action: create, kind: endpoint, name: ipvlan20/web1, changes: {}}
done:
  description: The steps that were carried out all the same, where others failed.
  returned: failure in the middle of the work
  type: list
  elements: str
interpreter:
  description: The Python under which the module ran, since the one that Ansible chose lacks pyroute2 or netaddr.
  returned: when the module found another Python by itself
  type: str
  sample: /usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run, run_endpoints

OPTIONS = {
    "name": {"type": "str"},
    "network": {"type": "str"},
    "netns": {"type": "str"},
    "netns_path": {"type": "path"},
    "pid": {"type": "int"},
    "container": {"type": "str"},
    "container_engine": {"type": "str", "choices": ["auto", "docker", "podman"]},
    "host": {"type": "bool"},
    "ipv4_address": {"type": "str", "aliases": ["ip"]},
    "ipv6_address": {"type": "str", "aliases": ["ip6"]},
    "mac_address": {"type": "str"},
    "ifname": {"type": "str"},
    "default_route": {"type": "bool"},
    "aliases": {"type": "list", "elements": "str"},
    "sysctls": {"type": "dict"},
    "conflict_check": {"type": "bool"},
    "force": {"type": "bool"},
    "keep": {"type": "bool"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}


def main() -> None:
    module = run.with_hints(AnsibleModule)(
        argument_spec={
            **OPTIONS,
            "endpoints": {
                "type": "list",
                "elements": "dict",
                "options": {**OPTIONS, "name": {"type": "str", "required": True}},
            },
            "purge": {"type": "bool", "default": False},
            "purge_all": {"type": "bool", "default": False},
            **run.COMMON_OPTIONS,
        },
        supports_check_mode=True,
    )
    run.run(module, lambda module: run_endpoints.endpoints(module, OPTIONS))


if __name__ == "__main__":
    main()
