#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ipam_info
short_description: List the addresses of VLAN networks
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Lists who holds which address, and what is set aside (gateways and auxiliary addresses); how full the subnets are; who held
    an address when; and in what the store and the kernel differ.
extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.reading
options:
  network:
    description:
      - Only the addresses of this network.
    type: str
  owner:
    description:
      - Only the addresses of this owner; for endpoints that is their name.
    type: str
  address:
    description:
      - Only who holds this address.
    type: str
  history:
    description:
      - Whether to tell who held the addresses when, as far back as O(netops.underlay.vlan_network#module:history_days).
    type: bool
    default: false
  audit:
    description:
      - Whether to look into every namespace of the host for what contradicts the store. Nothing is changed;
        O(netops.underlay.vlan_ipam#module:state=reconciled) releases what is proven dead.
    type: bool
    default: false
seealso:
  - module: netops.underlay.vlan_ipam
"""

EXAMPLES = r"""
- name: All addresses
  netops.underlay.vlan_ipam_info:
  register: all

- name: Those of one owner
  netops.underlay.vlan_ipam_info:
    network: ipvlan20
    owner: vm-12

- name: Who had this address in the last weeks
  netops.underlay.vlan_ipam_info:
    address: 192.168.20.7
    history: true

- name: What the store and the kernel do not agree on
  netops.underlay.vlan_ipam_info:
    audit: true
"""

RETURN = r"""
addresses:
  description: The addresses, first those that are set aside, then those that are held. An empty list if there are none.
  returned: success
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      owner: gateway
      address: 192.168.20.1
      family: ipv4
      kind: gateway
      description: ""
      expires: null
      state: present
    - network: ipvlan20
      owner: vm-12
      address: 192.168.20.2
      family: ipv4
      kind: reserved
      description: build VM
      expires: null
      state: present
subnets:
  description:
    - How full each subnet is, and its range where it has one. C(size) is how many addresses can be given out at all,
      and the sum of the other numbers - V(held) by endpoints, V(reserved) by owners, V(cooling) after their release, V(free).
    - The numbers are exact, also those of an IPv6 subnet. What other networks on the same parent hold of a subnet counts.
  returned: success
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      subnet: 192.168.20.0/24
      ip_range: null
      family: ipv4
      size: 253
      held: 0
      reserved: 1
      cooling: 0
      free: 252
history:
  description: Who held what from when until when, by address and time; C(until) is null for those who hold it now.
  returned: success, empty unless O(history=true)
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      owner: web1
      address: 192.168.20.7
      family: ipv4
      kind: endpoint
      description: ""
      since: "2026-11-01T08:00:00Z"
      until: "2026-11-20T17:30:00Z"
findings:
  description:
    - In what store and kernel differ. V(link_gone) - an endpoint whose link is not there, with C(dead) where it is
      proven that its namespace is no more; V(unknown_link) - a link with our mark that the store does not know;
      V(unknown_address) - an address on a link of ours that the store does not hold for it.
  returned: success, empty unless O(audit=true)
  type: list
  elements: dict
  sample:
    - finding: link_gone
      network: ipvlan20
      owner: web1
      address: 192.168.20.7
      where: netns web1
      reason: its namespace is gone
      dead: true
interpreter:
  description: The Python under which the module ran, since the one that Ansible chose lacks pyroute2 or netaddr.
  returned: when the module found another Python by itself
  type: str
  sample: /usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run, run_addresses

OPTIONS = {
    "network": {"type": "str"},
    "owner": {"type": "str"},
    "address": {"type": "str"},
    "history": {"type": "bool", "default": False},
    "audit": {"type": "bool", "default": False},
}


def main() -> None:
    module = run.with_hints(AnsibleModule)(argument_spec={**OPTIONS, **run.STATE_DIR_OPTION}, supports_check_mode=True)
    run.run(module, run_addresses.addresses_info)


if __name__ == "__main__":
    main()
