#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ipam
short_description: Hold addresses of VLAN networks
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Gives addresses of a network to owners that are no endpoints of it, such as virtual machines, appliances and virtual IPs, so
    that no endpoint gets them.
  - The owner is the key. The same owner has the same address on every run until it is released or expires.
  - Also puts the store right - it releases what dead endpoints hold, and takes back what it can where the store was damaged.
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
      - The address, or a range of them that nobody else is to get, as V(10.0.0.10-10.0.0.50) or V(10.0.0.64/28). If left out, the
        next free address.
      - With O(state=absent) what is released, if the owner holds it.
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
  expires:
    description:
      - Until when it is held; from then on it is free. A time such as V(2027-01-01T00:00:00Z) (UTC where it names no zone), or a
        duration from when the owner got it, as V(90s), V(30m), V(12h), V(7d) or V(2w), or V(never).
      - If left out, it stays as it is; for an address that is new it is V(never). A time that has passed means that nothing is
        held, with a warning.
    type: str
  state:
    description:
      - V(present), which it is if left out, and V(absent) say whether the owner is to hold the address. Beside O(addresses) it is
        the state of those that have none.
      - V(reconciled) releases what is held by endpoints of O(network), or of all, whose namespaces are proven to be no more - gone,
        or that of a process of before the host last started. It looks twice, a second apart, and once more right before. An
        endpoint that is merely not seen, one that after a restart of the host has yet to be put back, and addresses held by
        owners stay.
      - V(recovered) puts a new store in the place of a damaged one, which is kept beside it. What can still be read of it is
        taken over, and what the kernel shows of endpoints, their addresses and their parents. Nothing is done to a sound store.
    type: str
    choices: [present, absent, reconciled, recovered]
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
      expires:
        description: See O(expires).
        type: str
      state:
        description: V(present) or V(absent), see O(state).
        type: str
        choices: [present, absent]
notes:
  - In check mode a network that a task before would make is not there yet, and a task that needs it fails. With that task's result
    registered as C(net), the condition C(net is not changed or not ansible_check_mode) leaves it out then; the role C(vlan_map)
    does so by itself.
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

- name: A range for the storage team until the end of the year
  netops.underlay.vlan_ipam:
    network: ipvlan20
    owner: storage
    address: 192.168.20.100-192.168.20.120
    description: iSCSI migration
    expires: "2027-01-01T00:00:00Z"

- name: Release one
  netops.underlay.vlan_ipam:
    network: ipvlan20
    owner: printer
    state: absent

- name: Release what endpoints hold that died with their namespaces
  netops.underlay.vlan_ipam:
    network: ipvlan20
    state: reconciled

- name: Go on after the store was damaged
  netops.underlay.vlan_ipam:
    state: recovered
"""

RETURN = r"""
addresses:
  description:
    - The addresses of the task as they are now (in check mode, as they would be), in their order.
    - With O(state=reconciled) those that were released, with O(state=recovered) all that are held.
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
    "family": {"type": "str", "choices": ["ipv4", "ipv6"]},
    "description": {"type": "str"},
    "expires": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
}
WHOLE = {"state": {"type": "str", "choices": ["present", "absent", "reconciled", "recovered"]}}


def main() -> None:
    module = run.with_hints(AnsibleModule)(
        argument_spec={
            **OPTIONS,
            **WHOLE,
            "addresses": {
                "type": "list",
                "elements": "dict",
                "options": {**OPTIONS, "owner": {"type": "str", "required": True}},
            },
            **run.COMMON_OPTIONS,
        },
        supports_check_mode=True,
    )
    run.run(module, lambda module: run_addresses.addresses(module, OPTIONS))


if __name__ == "__main__":
    main()
