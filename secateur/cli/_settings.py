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
        raise BadRequest(
            f"setting {name!r}: {first['msg']}.",
            remedy=f"Correct SECATEUR_{name.upper()} or secateur.toml.",
        ) from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"secateur.toml cannot be read: {error}.") from None


def required(name: str, value: str | None) -> str:
    """`value` of the setting `name`. Raises BadRequest where there is none."""
    if not value:
        raise BadRequest(f"{name} is not set.", remedy="Set it to what the server has.")
    return value
