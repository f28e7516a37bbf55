#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_network
short_description: Manage ipvlan and macvlan networks on VLANs
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - A network is a VLAN, or any other link of the host, that endpoints can be put on, with its subnets.
  - A parent such as V(eth0.20) that does not exist is made as the 802.1Q sub-interface of V(eth0) with VLAN id 20, and
    removed with the last network that uses it. Any other parent is used as it is and never changed.
  - One task can carry one network by its own options, or many in O(networks).
  - Options that are left out keep what a network has; for a network that is made they have the defaults named below.
extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.managing
options:
  name:
    description:
      - Name of the network, unique on the host. A letter or digit, then letters, digits, C(_), C(.), C(-), up to 64 characters.
    type: str
  driver:
    description:
      - Kind of the links that endpoints get. V(ipvlan) if left out for a network that is made.
    type: str
    choices: [ipvlan, macvlan]
  parent:
    description:
      - Link of the host that the network hangs on, for example V(eth0), V(eth0.20) or V(bond0.20).
      - If left out for a network that is made, the network is isolated, on a dummy link of its own.
    type: str
  ipvlan_mode:
    description:
      - Mode of an ipvlan network. V(l2) if left out for a network that is made.
      - All ipvlan networks on one parent have the same mode and flag.
    type: str
    choices: [l2, l3, l3s]
  ipvlan_flag:
    description:
      - Whether endpoints on one parent reach each other directly (V(bridge)), not at all (V(private)) or by the switch
        (V(vepa)). V(bridge) if left out for a network that is made.
    type: str
    choices: [bridge, private, vepa]
  macvlan_mode:
    description:
      - Mode of a macvlan network. V(bridge) if left out for a network that is made.
      - With V(passthru) the network has one endpoint, which has the parent's MAC address.
    type: str
    choices: [bridge, vepa, passthru, private]
  internal:
    description:
      - Whether the network is isolated, on a dummy link, even if O(parent) is given.
    type: bool
  enable_ipv4:
    description:
      - Whether endpoints get an IPv4 address. V(true) if left out for a network that is made; without an IPv4 subnet in
        O(ipam_config) the network gets one from the default pools.
    type: bool
  enable_ipv6:
    description:
      - Whether endpoints get an IPv6 address. If left out, V(true) exactly if O(ipam_config) has an IPv6 subnet.
      - V(true) without an IPv6 subnet takes one from a unique local prefix of this host.
    type: bool
  ipam_config:
    description:
      - The subnets of the network. If left out for a network that is made, a free one from the default pools
        (172.18.0.0/16 first).
    type: list
    elements: dict
    suboptions:
      subnet:
        description:
          - Subnet with its prefix length. Host bits are cleared, with a warning.
        type: str
        required: true
      gateway:
        description:
          - Gateway of the subnet. If left out, the first usable address; V(none) for no gateway.
          - It is never given to an endpoint. It has no meaning as a route in the modes V(l3) and V(l3s).
        type: str
      ip_range:
        description:
          - Part of the subnet from which addresses are given out. If left out, the whole subnet. Host bits are cleared, with a
            warning.
        type: str
        aliases: [iprange]
      aux_addresses:
        description:
          - Addresses that others have, by name. They are never given out.
        type: dict
  mtu:
    description:
      - MTU of the endpoints' links, not above the parent's. V(0) follows the parent, as does leaving it out for a network
        that is made.
    type: int
  labels:
    description:
      - Words of your own, kept with the network.
    type: dict
  vlan_protocol:
    description:
      - The tag of a sub-interface that is made for the network - V(802.1q), or V(802.1ad) for the outer tag of QinQ. If left out
        for a network that is made, that of the networks on the same parent, else V(802.1q).
      - A parent that exists is used with the tag that it has.
    type: str
    choices: [802.1q, 802.1ad]
  cooldown:
    description:
      - Seconds for which a released address rests before another owner gets it; its old owner gets it back at once. V(0) if
        left out for a network that is made.
      - Caches of neighbours and firewalls then do not lead to the new owner what was meant for the old one.
    type: int
  announce:
    description:
      - How often the neighbours are told of an endpoint of this network that comes, moves, or gets another address or MAC address.
        Each time a gratuitous ARP request and reply, or an unsolicited neighbour advertisement, is sent from its link as soon as
        that has carrier. So caches of neighbours and switches lead to it at once.
      - C(count) is how many times, 0 to 10, and 3 if left out; 0 sends nothing. C(interval_ms) is how many milliseconds lie between,
        10 to 6000, and 1000 if left out.
      - The task does not wait for it; a process of its own sends them and ends. In l3 and l3s nothing is sent.
    type: dict
  conflict_check:
    description:
      - Whether the wire is asked, before an endpoint of this network gets an address, if another station has it. V(false) if left
        out for a network that is made, since some switches raise an alarm about such probes.
      - Where a free address was to be given out, the next one is taken, and the one that is in use is held for a day by a
        reservation that names the station. Where the address was asked for, or held before, it is an error and nothing is changed.
      - All endpoints of a task are asked about at the same time, which takes four seconds. In l3 and l3s there is nobody to ask.
    type: bool
  routes:
    description:
      - Routes of the host out of the parent of an l3 or l3s network, to subnets that other hosts have; so endpoints on different hosts
        reach each other. C(via) is the other host's address on that parent's segment; it is looked for there, whatever addresses this
        host has.
      - They are kept in step, put back, and removed with the network. A route of somebody else is never changed; where it contradicts
        one of these the task is refused. An empty list removes those of the network, as does another mode.
    type: list
    elements: dict
    suboptions:
      subnet:
        description:
          - What is to be reached, with its prefix length.
        type: str
        required: true
      via:
        description:
          - Address of the host that has it.
        type: str
        required: true
  ipv6_dad:
    description:
      - How an IPv6 address of an endpoint comes to be used. V(nodad) if left out for a network that is made.
      - V(nodad) - at once, and nobody is asked.
      - V(optimistic) - at once, while the kernel asks for duplicates on the endpoint's own link (RFC 4429). If it finds one, it
        stops using the address. The kernel has to be built with it (C(CONFIG_IPV6_OPTIMISTIC_DAD)).
      - V(wait) - only if nobody has it. The task asks for all its endpoints at the same time, for four seconds, and treats an
        address that somebody has as O(conflict_check) does. With O(conflict_check=true) that is done anyway.
      - A change holds for addresses that are given from then on.
    type: str
    choices: [nodad, optimistic, wait]
  force:
    description:
      - Removes a network together with its endpoints and held addresses, or makes all endpoints anew where a change cannot
        be made in place (driver, parent, V(passthru), a subnet with addresses in use). Without it both are refused.
      - Does what cuts the host's own default route, or the connection that Ansible came in on, such as the removal of a parent that
        was made for the network if they need it. Without it that is refused, before anything is changed. For this it has to be given
        for the very network, not beside O(networks), and not for what O(purge) removes.
    type: bool
  state:
    description:
      - Whether the network is to be there. V(present) if left out. Beside O(networks) it is the state of those that have none.
    type: str
    choices: [present, absent]
  networks:
    description:
      - The networks, each with the options above.
    type: list
    elements: dict
    suboptions:
      name:
        description: See O(name).
        type: str
        required: true
      driver:
        description: See O(driver).
        type: str
        choices: [ipvlan, macvlan]
      parent:
        description: See O(parent).
        type: str
      ipvlan_mode:
        description: See O(ipvlan_mode).
        type: str
        choices: [l2, l3, l3s]
      ipvlan_flag:
        description: See O(ipvlan_flag).
        type: str
        choices: [bridge, private, vepa]
      macvlan_mode:
        description: See O(macvlan_mode).
        type: str
        choices: [bridge, vepa, passthru, private]
      internal:
        description: See O(internal).
        type: bool
      enable_ipv4:
        description: See O(enable_ipv4).
        type: bool
      enable_ipv6:
        description: See O(enable_ipv6).
        type: bool
      ipam_config:
        description: See O(ipam_config).
        type: list
        elements: dict
        suboptions:
          subnet:
            description: See O(ipam_config[].subnet).
            type: str
            required: true
          gateway:
            description: See O(ipam_config[].gateway).
            type: str
          ip_range:
            description: See O(ipam_config[].ip_range).
            type: str
            aliases: [iprange]
          aux_addresses:
            description: See O(ipam_config[].aux_addresses).
            type: dict
      mtu:
        description: See O(mtu).
        type: int
      labels:
        description: See O(labels).
        type: dict
      vlan_protocol:
        description: See O(vlan_protocol).
        type: str
        choices: [802.1q, 802.1ad]
      cooldown:
        description: See O(cooldown).
        type: int
      announce:
        description: See O(announce).
        type: dict
      conflict_check:
        description: See O(conflict_check).
        type: bool
      routes:
        description: See O(routes).
        type: list
        elements: dict
        suboptions:
          subnet:
            description: See O(routes[].subnet).
            type: str
            required: true
          via:
            description: See O(routes[].via).
            type: str
            required: true
      ipv6_dad:
        description: See O(ipv6_dad).
        type: str
        choices: [nodad, optimistic, wait]
      force:
        description: See O(force).
        type: bool
      state:
        description: See O(state).
        type: str
        choices: [present, absent]
  default_address_pools:
    description:
      - What the subnets of networks are cut from that name none. It is a setting of the host, kept from then on; it may also be
        the only option of a task. An empty list goes back to the pools of the collection.
      - Subnets that networks already have stay. A family of which no pool is given has those of the collection - 172.18.0.0/16 to
        172.31.0.0/16, then 192.168.0.0/16 in blocks of /20; for IPv6 a unique local /48 of this host in blocks of /64.
      - A block is never taken that overlaps a route of the host, a name server of it or another network.
    type: list
    elements: dict
    suboptions:
      base:
        description: The pool, for example V(10.200.0.0/16).
        type: str
        required: true
      size:
        description: Prefix length of the subnets cut from it, for example V(24).
        type: int
        required: true
  history_days:
    description:
      - How many days it is remembered who held which address; see M(netops.underlay.vlan_ipam_info). It is a setting of the host,
        kept from then on; V(90) as long as none is given. It may also be the only option of a task.
    type: int
  purge:
    description:
      - Removes every network of ours that is not in O(networks). Those with endpoints only with O(force).
    type: bool
    default: false
  purge_all:
    description:
      - Has to be V(true) if O(networks) is empty and O(purge) is V(true), since that removes everything.
    type: bool
    default: false
seealso:
  - module: netops.underlay.vlan_endpoint
  - module: netops.underlay.vlan_network_info
"""

EXAMPLES = r"""
- name: VLAN 20 of the trunk eth0
  netops.underlay.vlan_network:
    name: ipvlan20
    parent: eth0.20
    ipam_config:
      - subnet: 192.168.20.0/24
        gateway: 192.168.20.1

- name: An isolated network with a subnet from the default pools
  netops.underlay.vlan_network:
    name: isolated1

- name: Three VLANs at once, and no other network of ours
  netops.underlay.vlan_network:
    networks:
      - name: vlan10
        parent: eth0.10
        ipam_config:
          - subnet: 172.16.80.0/24
      - name: vlan30
        driver: macvlan
        parent: eth0.30
        ipam_config:
          - subnet: 10.1.0.0/16
            gateway: 10.1.100.1
            ip_range: 10.1.200.0/24
            aux_addresses:
              my-router: 10.1.200.1
      - name: vlan118
        parent: eth0.118
        ipvlan_mode: l3
        ipam_config:
          - subnet: 192.168.110.0/24
          - subnet: 2001:db8:abc6::/64
    purge: true

- name: A network in which a released address rests for an hour
  netops.underlay.vlan_network:
    name: vlan40
    parent: eth0.40
    cooldown: 3600

- name: An l3 network, of which two other hosts have a part
  netops.underlay.vlan_network:
    name: vlan118
    parent: eth0.118
    ipvlan_mode: l3
    ipam_config:
      - subnet: 192.168.110.0/24
        ip_range: 192.168.110.0/28
    routes:
      - subnet: 192.168.110.16/28
        via: 10.0.118.12
      - subnet: 192.168.110.32/28
        via: 10.0.118.13

- name: Where subnets come from that nobody names, and how long it is remembered who had an address
  netops.underlay.vlan_network:
    default_address_pools:
      - base: 10.200.0.0/16
        size: 24
      - base: fd00:db8::/48
        size: 64
    history_days: 365

- name: Take a network away
  netops.underlay.vlan_network:
    name: vlan10
    state: absent
"""

RETURN = r"""
networks:
  description: The networks of the task as they are now (in check mode, as they would be), in their order.
  returned: success
  type: list
  elements: dict
  sample:
    - name: ipvlan20
      driver: ipvlan
      parent: eth0.20
      parent_created: true
      vlan_id: 20
      vlan_protocol: 802.1q
      mode: l2
      flag: bridge
      mtu: 1500
      internal: false
      enable_ipv4: true
      enable_ipv6: false
      ipam_config:
        - subnet: 192.168.20.0/24
          gateway: 192.168.20.1
          ip_range: null
          aux_addresses: {}
      labels: {}
      cooldown: 0
      announce:
        count: 3
        interval_ms: 1000
      conflict_check: false
      routes: []
      ipv6_dad: nodad
      state: present
actions:
  description: What was done (in check mode, what would be), in order.
  returned: success
  type: list
  elements: dict
  sample:
    - action: create
      kind: parent
      name: eth0.20
      changes: {}
    - action: create
      kind: network
      name: ipvlan20
      changes: {}
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
from ansible_collections.netops.underlay.plugins.module_utils import run, run_networks
from ansible_collections.netops.underlay.plugins.module_utils.drivers import argument_spec

OPTIONS = {
    "name": {"type": "str"},
    **argument_spec(),
    "parent": {"type": "str"},
    "internal": {"type": "bool"},
    "enable_ipv4": {"type": "bool"},
    "enable_ipv6": {"type": "bool"},
    "ipam_config": {
        "type": "list",
        "elements": "dict",
        "options": {
            "subnet": {"type": "str", "required": True},
            "gateway": {"type": "str"},
            "ip_range": {"type": "str", "aliases": ["iprange"]},
            "aux_addresses": {"type": "dict"},
        },
    },
    "mtu": {"type": "int"},
    "labels": {"type": "dict"},
    "vlan_protocol": {"type": "str", "choices": ["802.1q", "802.1ad"]},
    "cooldown": {"type": "int"},
    "announce": {"type": "dict"},
    "conflict_check": {"type": "bool"},
    "routes": {
        "type": "list",
        "elements": "dict",
        "options": {"subnet": {"type": "str", "required": True}, "via": {"type": "str", "required": True}},
    },
    "ipv6_dad": {"type": "str", "choices": ["nodad", "optimistic", "wait"]},
    "force": {"type": "bool"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}
POOL = {"base": {"type": "str", "required": True}, "size": {"type": "int", "required": True}}


def main() -> None:
    module = run.with_hints(AnsibleModule)(
        argument_spec={
            **OPTIONS,
            "networks": {
                "type": "list",
                "elements": "dict",
                "options": {**OPTIONS, "name": {"type": "str", "required": True}},
            },
            "default_address_pools": {"type": "list", "elements": "dict", "options": POOL},
            "history_days": {"type": "int"},
            "purge": {"type": "bool", "default": False},
            "purge_all": {"type": "bool", "default": False},
            **run.COMMON_OPTIONS,
        },
        supports_check_mode=True,
    )
    run.run(module, lambda module: run_networks.networks(module, OPTIONS))


if __name__ == "__main__":
    main()
