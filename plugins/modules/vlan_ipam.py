#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ipam
short_description: Hold addresses of VLAN networks
version_added: 0.1.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Gives addresses of a network to owners that are no endpoints of it, such as virtual machines, appliances and virtual IPs, so
    that no endpoint gets them.
  - The owner is the key. The same owner has the same address on every run until it is released.
extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.managing
options:
  network:
    description:
      - Name of the network. Beside O(addresses) it is the network of those that name none.
    type: str
  owner:
    description:
      - Who holds the address; up to 255 printable characters.
    type: str
  address:
    description:
      - The address. If left out, the next free one.
      - With O(state=absent) the address that is released, if the owner holds it.
    type: str
  family:
    description:
      - Address family. If left out, that of O(address), else V(ipv4). An owner can hold one address of each.
    type: str
    choices: [ipv4, ipv6]
  description:
    description:
      - What the address is for, in one line.
    type: str
  state:
    description:
      - Whether the owner is to hold the address. V(present) if left out. Beside O(addresses) it is the state of those that have
        none.
    type: str
    choices: [present, absent]
  addresses:
    description:
      - The addresses, each with the options above.
    type: list
    elements: dict
    suboptions:
      network:
        description: See O(network).
        type: str
      owner:
        description: See O(owner).
        type: str
        required: true
      address:
        description: See O(address).
        type: str
      family:
        description: See O(family).
        type: str
        choices: [ipv4, ipv6]
      description:
        description: See O(description).
        type: str
      state:
        description: See O(state).
        type: str
        choices: [present, absent]
seealso:
  - module: netops.underlay.vlan_network
  - module: netops.underlay.vlan_ipam_info
"""

EXAMPLES = r"""
- name: The network of the examples
  netops.underlay.vlan_network:
    name: ipvlan20
    parent: eth0.20
    ipam_config:
      - subnet: 192.168.20.0/24

- name: The next free address for a virtual machine
  netops.underlay.vlan_ipam:
    network: ipvlan20
    owner: vm-12
    description: build VM
  register: vm

- name: Two addresses that are asked for
  netops.underlay.vlan_ipam:
    network: ipvlan20
    addresses:
      - owner: printer
        address: 192.168.20.50
      - owner: vip
        address: 192.168.20.60

- name: Release one
  netops.underlay.vlan_ipam:
    network: ipvlan20
    owner: printer
    state: absent
"""

RETURN = r"""
addresses:
  description: The addresses of the task as they are now (in check mode, as they would be), in their order.
  returned: success
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      owner: vm-12
      address: 192.168.20.2
      family: ipv4
      kind: reserved
      description: build VM
      expires: null
      state: present
actions:
  description: What was done (in check mode, what would be), in order.
  returned: success
  type: list
  elements: dict
  sample:
    - {action: allocate, kind: address, name: 192.168.20.2, changes: {owner: {before: null, after: vm-12}}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run

OPTIONS = {
    "network": {"type": "str"},
    "owner": {"type": "str"},
    "address": {"type": "str"},
    "family": {"type": "str", "choices": ["ipv4", "ipv6"]},
    "description": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **OPTIONS,
            "addresses": {
                "type": "list",
                "elements": "dict",
                "options": {**OPTIONS, "owner": {"type": "str", "required": True}},
            },
            **run.COMMON_OPTIONS,
        },
        supports_check_mode=True,
    )
    run.run(module, lambda module: run.addresses(module, OPTIONS))


if __name__ == "__main__":
    main()
