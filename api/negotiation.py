"""Which of our media types a client would rather have (RFC 9110 §12.5.1)."""

from typing import NamedTuple


class _Offer(NamedTuple):
    """How well a type is liked. `specific` breaks ties: text/html beats text/* beats */*."""

    quality: float
    specific: int


def preferred(accept: str | None, ours: tuple[str, ...]) -> str | None:
    """The best of `ours`, the first where the client does not mind; None if it wants none of them."""
    if not (accept or "").strip():
        return ours[0]
    ranges = [_parse(part) for part in (accept or "").split(",") if part.strip()]
    # The most specific range decides the quality of a type; among types the best quality wins.
    liked = {kind: max((o for r, o in ranges if _covers(r, kind)), key=lambda o: o.specific,
                       default=_Offer(0.0, 0)) for kind in ours}  # fmt: skip
    best = max(ours, key=lambda kind: liked[kind].quality)
    return best if liked[best].quality > 0 else None


def _parse(part: str) -> tuple[str, _Offer]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    specific = 0 if kind == "*/*" else 1 if kind.endswith("/*") else 2
    try:
        return kind, _Offer(float(quality), specific)
    except ValueError:
        return kind, _Offer(0.0, specific)


def _covers(media_range: str, kind: str) -> bool:
    return media_range in ("*/*", kind, f"{kind.partition('/')[0]}/*")
