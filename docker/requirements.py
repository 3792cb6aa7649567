"""Print what pyproject.toml asks for, one requirement a line; with an extra's name, that extra's.

Dependencies then form an image layer of their own, which changes of our code leave as it is.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = sys.argv[1:]
wanted = [line for extra in extras for line in project["optional-dependencies"][extra]]
# torch's build depends on the device, so the Dockerfile installs it by itself.
print(
    *(line for line in wanted or project["dependencies"] if not line.startswith("torch")), sep="\n"
)
