# Copyright: (c) 2026, netops.underlay contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a module imports on a host, where Ansible has sent it in a zip archive."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
WITHIN = "ansible_collections/netops/underlay/plugins"

# As Ansible runs it there (ansible/_internal/_ansiballz), with an ear for what is compiled, and the files told at the end.
START = """
import json, runpy, sys
compiled = []
sys.addaudithook(lambda event, args: event == "compile" and compiled.append(str(args[1])))
sys.path.insert(0, sys.argv[1])
runpy.run_module(sys.argv[2], run_name="told")
files = {name: module.__file__ for name, module in sys.modules.items() if ".underlay.plugins.module_utils." in name}
print(json.dumps([compiled, files]))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Ansible sends: each file under its full name, and an empty one for each package above it."""
    path = tmp_path_factory.mktemp("sent") / "payload.zip"
    with ZipFile(path, "w") as payload:
        for folder in ("modules", "module_utils"):
            for file in (PLUGINS / folder).glob("*.py"):
                payload.write(file, f"{WITHIN}/{folder}/{file.name}")
        for number in range(1, 7):
            for folder in ("modules", "module_utils"):
                parts = f"{WITHIN}/{folder}".split("/")[:number]
                name = "/".join([*parts, "__init__.py"])
                if number <= len(parts) and name not in payload.namelist():
                    payload.writestr(name, "")
    return path


@pytest.mark.parametrize("module", MODULES)
def test_each_file_is_compiled_once(archive: Path, module: str) -> None:
    command = [sys.executable, "-c", START, archive, f"{WITHIN.replace('/', '.')}.modules.{module}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compiled, files = json.loads(done.stdout.splitlines()[-1])
    ours = Counter(Path(name).stem for name in compiled if name.startswith(f"{archive}/{WITHIN}/module_utils/"))
    assert {"run", "importing", "netlink", "store"} <= set(ours)
    # These two come before it can be otherwise.
    assert {name for name, times in ours.items() if times > 1} <= {"run", "importing", "__init__"}
    assert files == {name: f"{archive}/{name.replace('.', '/')}.py" for name in files}


def test_a_python_that_is_too_old_is_told_so_before_anything_is_imported_that_it_cannot_have(archive: Path) -> None:
    code = (
        "import sys; sys.version_info = (3, 8, 18, 'final', 0); sys.path.insert(0, sys.argv[1])\n"
        f"import {WITHIN.replace('/', '.')}.module_utils.run"
    )
    done = subprocess.run([sys.executable, "-c", code, str(archive)], capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)
    assert (done.returncode, said["failed"], done.stderr) == (1, True, "")
    assert f"{sys.executable} is Python 3.8, and the modules of netops.underlay need 3.9 or newer" in said["msg"]


@pytest.mark.parametrize(
    "file", [*(f"modules/{name}.py" for name in MODULES), "module_utils/run.py", "module_utils/importing.py"]
)
def test_such_a_python_can_read_what_comes_before(file: str) -> None:
    ast.parse((PLUGINS / file).read_text(encoding="utf-8"), feature_version=(3, 8))
