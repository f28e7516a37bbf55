#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_endpoint_info
short_description: List the endpoints on VLANs of a host
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Lists the endpoints that the collection keeps on a host, as the kernel shows them.
  - An endpoint whose link is not there (its process ended, the host was rebooted) is C(waiting), with its address held.

extends_documentation_fragment:
  - netops.underlay.underlay
  - netops.underlay.underlay.reading
options:
  network:
    description:
      - Only the endpoints of this network.
    type: str
  name:
    description:
      - Only the endpoints of this name.
    type: str
seealso:
  - module: netops.underlay.vlan_endpoint
"""

EXAMPLES = r"""
- name: All endpoints
  netops.underlay.vlan_endpoint_info:
  register: all

- name: Those of one network
  netops.underlay.vlan_endpoint_info:
    network: ipvlan20
"""

RETURN = r"""
endpoints:
  description: The endpoints, by network and name. An empty list if there are none.
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
others:
  description:
    - The addresses and routes on links of endpoints that are not ours, such as those of keepalived, of a router advertisement
      or by hand. They stay. Endpoints without any are left out.
  returned: success
  type: list
  elements: dict
  sample:
    - network: ipvlan20
      name: web1
      addresses: [192.168.20.200/32]
      routes: [10.50.0.0/16 via 192.168.20.9]
interpreter:
  description: The Python under which the module ran, since the one that Ansible chose lacks pyroute2 or netaddr.
  returned: when the module found another Python by itself
  type: str
  sample: /usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run, run_endpoints


def main() -> None:
    module = run.with_hints(AnsibleModule)(
        argument_spec={"network": {"type": "str"}, "name": {"type": "str"}, **run.STATE_DIR_OPTION},
        supports_check_mode=True,
    )
    run.run(module, run_endpoints.endpoints_info)


if __name__ == "__main__":
    main()
