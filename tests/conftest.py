"""Puts the collection on the path under its own name, as Ansible does."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COLLECTIONS = REPOSITORY / ".work" / "collections"

sys.path.insert(0, str(COLLECTIONS))
