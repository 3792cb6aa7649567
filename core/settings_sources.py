"""Settings from files, as containers get their secrets: `SECATEUR_<FIELD>_FILE` names the file."""

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from core.errors import BadRequest


class FilesSource(PydanticBaseSettingsSource):
    """Each field for which a variable names a file has the file's text, less one newline at the end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 - the library's signature
        """The text, or None where no file is named.

        Raises:
            BadRequest: the file cannot be read, or the value is also given in a variable.
        """
        variable = f"{self.config.get('env_prefix', '')}{field_name}".upper()
        path = os.environ.get(f"{variable}_FILE")
        if not path:
            return None, field_name, False
        if os.environ.get(variable):
            raise BadRequest(
                f"{variable} and {variable}_FILE are both set.", remedy="Unset one of them."
            )
        return _text(Path(path), f"{variable}_FILE"), field_name, False

    def __call__(self) -> dict[str, Any]:
        """The fields that come from files."""
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: text for name, text in found.items() if text is not None}


def _text(path: Path, variable: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        why = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        why = "it is not UTF-8 text"
    else:
        return text.removesuffix("\n").removesuffix("\r")
    raise BadRequest(
        f"{variable} names {path}, which cannot be read: {why}.",
        remedy="Correct the path, or let this process's user read the file.",
    )
