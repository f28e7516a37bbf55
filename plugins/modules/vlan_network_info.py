#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_network_info
short_description: List the networks on VLANs of a host
version_added: 0.1.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Lists the networks that the collection keeps on a host, with what the kernel says of their parents.

extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.reading
options:
  name:
    description:
      - Only the network of this name.
    type: str
seealso:
  - module: netops.underlay.vlan_network
"""

EXAMPLES = r"""
- name: All networks
  netops.underlay.vlan_network_info:
  register: all

- name: One network
  netops.underlay.vlan_network_info:
    name: ipvlan20
"""

RETURN = r"""
networks:
  description: The networks, by name. An empty list if there are none.
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
      state: present
settings:
  description: The settings of the host; an empty list of pools means those of the collection.
  returned: success
  type: dict
  sample:
    default_address_pools:
      - base: 10.200.0.0/16
        size: 24
    history_days: 90
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={"name": {"type": "str"}, **run.STATE_DIR_OPTION},
        supports_check_mode=True,
    )
    run.run(module, run.networks_info)


if __name__ == "__main__":
    main()
