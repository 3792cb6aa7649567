"""Settings, with what is wrong in them said in a line."""

from pydantic import ValidationError

from core.errors import BadRequest
from core.settings import Settings


def load_settings() -> Settings:
    """`SECATEUR_*` over `secateur.toml` over defaults. Raises BadRequest."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        variable = str(first["loc"][0]).upper()
        raise BadRequest(
            f"setting {name!r}: {first['msg']}.",
            remedy=f"Correct SECATEUR_{variable} or secateur.toml.",
        ) from None
    except (OSError, ValueError) as error:
        raise BadRequest(
            f"the settings cannot be read: {error}.",
            remedy="Correct secateur.toml, or the SECATEUR_* variable that holds JSON.",
        ) from None


def required(name: str, value: str | None) -> str:
    """`value`. Raises BadRequest if the setting `name` has none."""
    if not value:
        raise BadRequest(
            f"{name} is not set.",
            remedy="Set it to what the server uses; `secateur serve --data DIR` keeps its own in"
            " sqlite:///DIR/secateur.db and file://DIR/store.",
        )
    return value
