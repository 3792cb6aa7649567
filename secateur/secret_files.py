"""The secrets of a deployment in containers: files that are made once, and from then on read.

Five are secrets; the others say the same in the words of the programs that read them. To change a
secret, write its file anew: the next call brings the others in line.
"""

import json
import re
import secrets
import string
from collections.abc import Callable
from pathlib import Path
from typing import Final

from core.errors import BadRequest

_READABLE: Final = 0o440  # the owner's, and the group's that all who need them belong to
# What neither an ini file, a server's configuration nor a shell gives a meaning to.
_PLAIN: Final = re.compile(r"[!#-&(-\[\]-_a-~]+")


def _password() -> str:
    return secrets.token_urlsafe(32)


def _access_key() -> str:
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(20))


SECRETS: Final[dict[str, Callable[[], str]]] = {
    "database/password": _password,
    "broker/password": _password,
    "store/access_key": _access_key,
    "store/secret_key": _password,
    "metrics/token": _password,
}


def ensure(folder: Path) -> list[str]:
    """Make what is missing below `folder`; the names of the files that were written.

    Raises:
        BadRequest: a file cannot be read or written, or holds no secret that every reader understands.
    """
    try:
        created = [name for name in SECRETS if not (folder / name).exists()]
        for name in created:
            _write(folder / name, SECRETS[name]())
        found = {name: _read(folder / name) for name in SECRETS}
        derived = _derived(found)
        changed = [name for name, text in derived.items() if not _holds(folder / name, text)]
        for name in changed:
            _write(folder / name, derived[name])
    except OSError as error:
        raise BadRequest(
            f"{error.filename} cannot be used: {error.strerror}.",
            remedy=f"Give {folder} and what is in it to the user that runs this, or make the file yourself.",
        ) from None
    return created + changed


def _derived(found: dict[str, str]) -> dict[str, str]:
    """What Valkey, boto3 and SeaweedFS read."""
    access, secret = found["store/access_key"], found["store/secret_key"]
    identity = {
        "name": "secateur",
        "credentials": [{"accessKey": access, "secretKey": secret}],
        "actions": ["Admin"],
    }
    return {
        "broker/valkey.conf": f"requirepass {found['broker/password']}\n",
        "store/credentials": f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n",
        "store/seaweedfs.json": json.dumps({"identities": [identity]}, indent=2) + "\n",
    }


def _read(path: Path) -> str:
    text = path.read_bytes().decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not _PLAIN.fullmatch(text):
        raise BadRequest(
            f"{path} holds no usable secret.",
            remedy="Write one line of letters, digits and signs into it,"
            " without spaces, quotes and backslashes.",
        )
    return text


def _holds(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8", errors="replace") == text


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and never readable for everybody, not even for a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text, encoding="utf-8")
    part.chmod(_READABLE)
    part.replace(path)
