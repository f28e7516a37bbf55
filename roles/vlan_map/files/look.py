"""One look at the host, before the role changes anything: prints what it found as JSON. Writes nothing.

Arguments: the trunk (or ''), the virtual environment that the role may have made, the file that lists the kernel
modules to load at boot, the kernel modules in question. Runs under the Python that the modules would run under.
"""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys

# The oldest pyroute2 is that of module_utils/netlink.py. Its own __version__ is "unknown" in Debian's package 0.7.2-2.
LIBRARIES = """
import importlib.metadata, re, sys, netaddr, pyroute2
version = importlib.metadata.version("pyroute2")
old = [int(number) for number in re.findall(r"\\d+", version)[:3]] < [0, 7, 2]
raise SystemExit(old or sys.version_info < (3, 9))
"""


def main(trunk, venv, boot_file, *modules):
    loaded = {line.split()[0] for line in lines("/proc/modules")}
    files = lines(f"/lib/modules/{platform.release()}/modules.builtin")
    builtin = {os.path.basename(file).split(".")[0] for file in files}
    pythons = (python for python in (sys.executable, f"{venv}/bin/python") if has_libraries(python))
    managers = {"apt-get": "apt", "dnf": "dnf"}
    return {
        "linux": sys.platform == "linux",
        "root": os.geteuid() == 0,
        "trunk": not trunk or os.path.exists(f"/sys/class/net/{trunk}"),
        "links": sorted(name for name in folder("/sys/class/net") if name != "lo")[:20],
        "python": sys.executable,
        "python_is_old": sys.version_info < (3, 9),
        "usable_python": next(pythons, ""),
        # The distribution's packages are for its own Python only, not for another one beside it.
        "system_python": sys.prefix == sys.base_prefix
        and os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3"),
        "package_manager": next((managers[name] for name in managers if shutil.which(name)), ""),
        # Debian has the means to make a virtual environment in a package of its own.
        "ensurepip": importlib.util.find_spec("ensurepip") is not None,
        "systemd": os.path.isdir("/run/systemd/system"),  # as sd_booted(3) has it
        # What manages links by itself, if it is here; it learns by way of udev what to leave alone.
        "network_managers": os.path.isdir("/etc/udev")
        and any(map(os.path.isdir, ("/etc/NetworkManager", "/etc/systemd/network"))),
        "networkd": os.path.isdir("/etc/systemd/network"),
        "modules_missing": sorted(set(modules) - loaded - builtin),
        # systemd's; where it is missing nobody reads what lies there.
        "boot_folder": os.path.isdir(os.path.dirname(boot_file)),
        "modules_at_boot": sorted(line for line in lines(boot_file) if not line.startswith("#")),
    }


def has_libraries(python):
    try:
        return subprocess.run([python, "-c", LIBRARIES], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def folder(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def lines(path):
    try:
        with open(path) as file:
            return [line.strip() for line in file if line.strip()]
    except OSError:
        return []


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
