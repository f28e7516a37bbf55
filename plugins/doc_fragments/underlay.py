# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the documentation of several modules says in the same words."""

from __future__ import annotations


class ModuleDocFragment:
    # What every module takes.
    DOCUMENTATION = r"""
options:
  state_dir:
    description:
      - Folder on the host in which the collection keeps its store. It is made with mode 0700 if it does not exist.
      - All tasks for one host have to name the same folder. C(module_defaults) with C(group/netops.underlay.underlay) names it once
        for all of them.
    type: path
    default: /var/lib/netops-underlay
attributes:
  action_group:
    support: full
    description: All modules of the collection are in the action group, so C(module_defaults) can set what they share.
    membership: [netops.underlay.underlay]
requirements:
  - pyroute2 >= 0.7.2
  - netaddr
notes:
  - Needs root on the host, so C(become=true).
  - Where the Python that Ansible chose lacks the libraries, but that of the role's virtual environment, V(/usr/bin/python3) or
    V(/usr/libexec/platform-python) has them, the module runs under that one, and the result says so in C(interpreter).
  - The host is a Linux host whose kernel has the modules C(8021q), C(dummy), C(ipvlan) and C(macvlan), as far as they are used.
"""

    # What the managing modules take beside it.
    MANAGING = r"""
options:
  lock_timeout:
    description:
      - Seconds to wait for another run on the same host; runs that change things do so one after the other.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Nothing is changed; C(changed), C(actions), the items and the diff are those of a real run.
  diff_mode:
    support: full
    description: The items that change, before and after.
  idempotent:
    support: full
    description: A second run reports no change and writes nothing.
"""

    # What the reading modules are.
    READING = r"""
attributes:
  check_mode:
    support: full
    description: Nothing is ever changed.
  diff_mode:
    support: N/A
    description: Nothing is ever changed.
  idempotent:
    support: full
    description: Nothing is ever changed.
"""
