#!/usr/bin/python
# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: vlan_service
short_description: Install what puts networks and endpoints back after a reboot
version_added: 1.0.0
author:
  - netops.underlay contributors (@netops-underlay)
description:
  - Installs a service that puts sub-interfaces, namespaces, links, addresses, routes and names back from the store, with the
    same addresses, without a run of Ansible. It does so when the host boots, when a parent link that was gone is there again,
    and when a container of Docker or Podman starts.
  - What hangs on a link that is not there waits for it, and keeps nothing else waiting. An endpoint by
    O(netops.underlay.vlan_endpoint#module:pid) waits for a task that gives it its new process; its address is held.
  - The service is this collection's own code, copied to C(/usr/local/lib/netops-underlay), and the unit
    C(netops-underlay.service) of systemd. It runs with the Python that runs this module. To enable and start it is left to
    M(ansible.builtin.systemd_service), see the examples; the role P(netops.underlay.vlan_map#role) does all of it.
extends_documentation_fragment:
  - netops.underlay.underlay
options:
  state:
    description:
      - Whether it is to be installed. Stop the service before it is removed.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    support: full
    description: Says what would be done, and does not do it.
  diff_mode:
    support: full
    description: Tells which files differ.
seealso:
  - module: netops.underlay.vlan_endpoint
"""

EXAMPLES = r"""
- name: Install the service
  netops.underlay.vlan_service:
  register: service

- name: Start it, and anew after a change
  ansible.builtin.systemd_service:
    name: "{{ service.unit }}"
    enabled: true
    state: "{{ service is changed | ternary('restarted', 'started') }}"
    daemon_reload: "{{ service is changed }}"
"""

RETURN = r"""
files:
  description: The files that were written or removed (in check mode, that would be).
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/netops-underlay.service]
digest:
  description: SHA-256 over the SHA-256 of each file, which lie beside them in C(SHA256SUMS), as B(sha256sum --check) reads it.
  returned: O(state=present)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
unit:
  description: The unit of systemd.
  returned: success
  type: str
  sample: netops-underlay.service
interpreter:
  description: The Python under which the module ran, since the one that Ansible chose lacks pyroute2 or netaddr.
  returned: when the module found another Python by itself
  type: str
  sample: /usr/bin/python3
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.netops.underlay.plugins.module_utils import run, run_service

OPTIONS = {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}


def main() -> None:
    module = run.with_hints(AnsibleModule)(argument_spec={**OPTIONS, **run.STATE_DIR_OPTION}, supports_check_mode=True)
    run.run(module, run_service.service)


if __name__ == "__main__":
    main()
