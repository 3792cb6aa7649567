"""Query strings: no parameter is ever ignored."""

from typing import cast, get_origin

from fastapi import Request
from fastapi.routing import APIRoute

from core.errors import InvalidSpec


def check_query(request: Request) -> None:
    """Refuse query parameters the route does not have, and any given twice that is no list: none is
    ignored."""
    route = cast("APIRoute", request.scope["route"])
    lists = {
        str(parameter.alias)
        for parameter in route.dependant.query_params
        if get_origin(parameter.field_info.annotation) is list
    }
    known = {str(parameter.alias) for parameter in route.dependant.query_params}
    open_prefixes = tuple((route.openapi_extra or {}).get("x-query-prefixes", ()))
    names = [name for name, _ in request.query_params.multi_items()]
    refused = [
        {"field": name[:100], "message": "given more than once"}
        for name in dict.fromkeys(names)
        if names.count(name) > 1 and name not in lists
    ] + [
        {"field": name[:100], "message": f"unknown; known here: {', '.join(sorted(known)) or '-'}"}
        for name in dict.fromkeys(names)
        if name not in known and not (open_prefixes and name.startswith(open_prefixes))
    ]
    if refused:
        raise InvalidSpec("The query is not valid.", fields=refused)
