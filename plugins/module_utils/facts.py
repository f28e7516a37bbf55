from ansible_collections.netops.underlay.plugins.module_utils.netlink import Address, Link, Route, attribute  # moved here later
