"""Cursors of lists that are ordered by a moment and then by an id: opaque, and never a 500."""

import base64
import json
from datetime import UTC, datetime

from core.errors import InvalidSpec


def cursor_of(moment: datetime, entry_id: str) -> str:
    """Where the page after this entry begins."""
    place = json.dumps([moment.astimezone(UTC).isoformat(), entry_id])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """The moment and the id in a cursor. Raises InvalidSpec."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        moment, entry_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        found = datetime.fromisoformat(moment).astimezone(UTC), str(entry_id)
        if "\0" in found[1] or not found[1].isascii():
            raise ValueError("no id has such characters")
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidSpec(
            f"{cursor[:80]!r} is not a cursor.",
            remedy="Pass `next` of an earlier page, or leave `after` out.",
            fields=[{"field": "after", "message": "not a cursor from this list"}],
        ) from None
    return found
