#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_ipam_info
short_description: List the addresses of VLAN networks
version_added: 0.1.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Lists who holds which address, and what is set aside (gateways and auxiliary addresses).

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
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={"network": {"type": "str"}, "owner": {"type": "str"}, **run.STATE_DIR_OPTION},
        supports_check_mode=True,
    )
    run.run(module, run.addresses_info)


if __name__ == "__main__":
    main()
