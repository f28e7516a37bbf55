#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_network_info
short_description: List the networks on VLANs of a host
version_added: 1.0.0
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
  verify:
    description:
      - Whether to look on the wire, too. Each parent asks its gateways for a sign of life, without an address of its own,
        listens for other stations, and tries whether frames as large as the MTU pass. All networks are checked at once,
        within two seconds as a rule.
      - What differs from what should be is told in RV(networks[].findings). Silence is a finding, never an error.
      - The MAC address of each gateway is kept in the store, so that the next check can tell another one. Nothing else is
        written, and nothing at all in check mode.
      - Which frames are sent when is told in C(docs/wire.md) of the collection.
    type: bool
    default: false
  listen:
    description:
      - With O(verify=true) how many seconds to listen, at most, for what the switch says of itself by LLDP or CDP - its name, its
        port, and the VLANs that this port carries as far as it says so. V(0) does not listen.
      - Switches speak LLDP every 30 seconds as a rule, and CDP every 60. Nothing is sent to ask for it.
    type: int
    default: 0
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

- name: Is every VLAN really there, and does its gateway answer?
  netops.underlay.vlan_network_info:
    verify: true
  register: on_wire

- name: No problem on any of them
  ansible.builtin.assert:
    that: on_wire.networks | map(attribute='findings') | flatten | selectattr('severity', 'eq', 'problem') | length == 0
    fail_msg: "{{ on_wire.networks | map(attribute='findings') | flatten | map(attribute='words') | join('\n') }}"
"""

RETURN = r"""
networks:
  description: The networks, by name. An empty list if there are none.
  returned: success
  type: list
  elements: dict
  contains:
    wire:
      description:
        - What was seen on the wire. Null for a network that has none, because its parent is a dummy.
        - C(carried) is null where nothing could be sent. In C(gateways), C(mac_address) is null for one that is silent,
          and C(rtt_ms) for one that was only heard. C(mtu) is the one that was tried, null if no gateway answered, and
          C(mtu_passes) the largest that passes. C(stations) counts all who were heard. C(switch) is null unless O(listen) heard one.
      returned: O(verify=true)
      type: dict
      sample:
        parent_up: true
        carrier: true
        carried: true
        gateways:
          - address: 172.16.50.1
            mac_address: 02:42:ac:10:32:01
            rtt_ms: 0.31
        mtu: 9000
        mtu_passes: 1500
        stations: 12
        switch:
          protocol: lldp
          system: tor1
          port: Ethernet1/7
          description: hypervisor 12
          vlans: [10, 20]
          native_vlan: 1
    findings:
      description:
        - What a person should know, in words. Empty where all is well.
        - C(severity) is C(problem) or C(hint). C(code) is one of C(parent_missing), C(parent_down), C(no_carrier),
          C(not_carried), C(gateway_silent), C(gateway_twice), C(gateway_changed), C(mtu), C(outside_subnet) and C(not_listed).
      returned: O(verify=true)
      type: list
      elements: dict
      sample:
        - severity: problem
          code: mtu
          words: "VLAN 20: MTU 9000 does not pass; 1500 does"
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
settings:
  description: The settings of the host; an empty list of pools means those of the collection.
  returned: success
  type: dict
  sample:
    default_address_pools:
      - base: 10.200.0.0/16
        size: 24
    history_days: 90
interpreter:
  description: The Python under which the module ran, since the one that Ansible chose lacks pyroute2 or netaddr.
  returned: when the module found another Python by itself
  type: str
  sample: /usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run, run_networks_info


def main() -> None:
    module = run.with_hints(AnsibleModule)(
        argument_spec={
            "name": {"type": "str"},
            "verify": {"type": "bool", "default": False},
            "listen": {"type": "int", "default": 0},
            **run.STATE_DIR_OPTION,
        },
        supports_check_mode=True,
    )
    run.run(module, run_networks_info.networks_info)


if __name__ == "__main__":
    main()
