"""Just enough of a Dockerfile's language to know what a stage's container starts with."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """What one stage, and all that it is built on, says."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    user: str = "root"


def stages(path: Path) -> dict[str, Stage]:
    """Every stage by its name."""
    found: dict[str, Stage] = {}
    current = Stage()
    for word, rest in _instructions(path.read_text()):
        match word:
            case "FROM":
                base, _, name = rest.split()
                parent = found.get(base, Stage())
                current = found[name] = Stage(
                    dict(parent.environment),
                    parent.entrypoint,
                    parent.command,
                    parent.healthcheck,
                    parent.user,
                )
            case "ENV":
                current.environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "ENTRYPOINT":
                current.entrypoint = json.loads(rest)
            case "CMD":
                current.command = json.loads(rest)
            case "HEALTHCHECK":
                current.healthcheck = json.loads(rest[rest.index("[") :])
            case "USER":
                current.user = rest
    return found


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    split = (line.split(None, 1) for line in joined.splitlines() if line.strip())
    return [(word, rest.strip()) for word, rest in split]
