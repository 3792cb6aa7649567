"""Pages for people: the list of jobs, one job, sweeps, several side by side, the API's description, and the way in.

The pages are fixed files; what a user wrote reaches them only as JSON, set as text by the scripts.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from api.auth import LOGIN, access_of, calling

_HERE: Final = Path(__file__).parent
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)
_SIGNED_IN: Final = [Depends(calling)]


def _page(name: str, *, frames: bool = False) -> FileResponse:
    """With `frames`, pages of this server may lie within it."""
    policy = _HEADERS["Content-Security-Policy"] + ("; frame-src 'self'" if frames else "")
    headers = {**_HEADERS, "Content-Security-Policy": policy}
    return FileResponse(_HERE / "pages" / name, media_type="text/html", headers=headers)


@router.get("/", dependencies=_SIGNED_IN)
async def job_list() -> FileResponse:
    return _page("jobs.html")


@router.get("/jobs/{job_id}", dependencies=_SIGNED_IN)
async def job(job_id: str) -> FileResponse:  # noqa: ARG001 - the page's script reads it off the URL
    return _page("job.html")


@router.get("/sweeps", dependencies=_SIGNED_IN)
async def sweep_list() -> FileResponse:
    return _page("sweeps.html")


@router.get("/sweeps/{sweep_id}", dependencies=_SIGNED_IN)
async def sweep(sweep_id: str) -> FileResponse:  # noqa: ARG001 - as above
    return _page("sweep.html", frames=True)


@router.get("/compare", dependencies=_SIGNED_IN)
async def compare() -> FileResponse:
    return _page("compare.html", frames=True)


@router.get("/docs")
async def docs() -> FileResponse:
    return _page("docs.html")


@router.get(LOGIN)
def login(request: Request) -> Response:
    """Where a browser without a key is sent; there is nothing to do here while none is demanded."""
    return _page("login.html") if access_of(request).demanded() else RedirectResponse("/", 303)


def mount_static(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
