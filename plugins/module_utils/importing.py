# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Has the rest of module_utils compiled once, where Ansible sent it to the host in a zip archive; to be imported before it, also
since the rest cannot be imported by a Python that is too old, and this says so.

Python's own importer compiles a module to tell what its file is called, and once more to run it (Lib/zipimport.py,
``zipimporter.get_filename``). That was a third of what starting a module took.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any
from zipimport import zipimporter

_OLDEST = (3, 9)

if sys.version_info < _OLDEST:  # there is no module yet that could say it
    _words = (
        f"{sys.executable} is Python {sys.version_info[0]}.{sys.version_info[1]}, and the modules of netops.underlay need 3.9 or newer; "
        "install one, and set ansible_python_interpreter to its path"
    )
    sys.stdout.writelines([json.dumps({"failed": True, "msg": _words}), "\n"])
    raise SystemExit(1)


class _CompilesOnce(zipimporter):
    """The same, but knows the name of a module's file without compiling it: in such an archive all is source."""

    def get_filename(self, fullname: str) -> str:
        if self.is_package(fullname):
            return super().get_filename(fullname)
        return f"{self.archive}{os.sep}{self.prefix}{fullname.rpartition('.')[2]}.py"


_importers: Any = sys.path_importer_cache
for _folder in sys.modules[__name__.rpartition(".")[0]].__path__:
    if isinstance(_importers.get(_folder), zipimporter):
        _importers[_folder] = _CompilesOnce(_folder)
