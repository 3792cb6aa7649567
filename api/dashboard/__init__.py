"""Pages for people: the list of jobs, one job, and the API's description.

The pages are fixed files; what a user wrote reaches them only as JSON, set as text by the scripts.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

_HERE: Final = Path(__file__).parent
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


def _page(name: str) -> FileResponse:
    return FileResponse(_HERE / "pages" / name, media_type="text/html", headers=_HEADERS)


@router.get("/")
async def job_list() -> FileResponse:
    return _page("jobs.html")


@router.get("/jobs/{job_id}")
async def job(job_id: str) -> FileResponse:  # noqa: ARG001 - the page's script reads it off the URL
    return _page("job.html")


@router.get("/docs")
async def docs() -> FileResponse:
    return _page("docs.html")


def mount_static(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=_HERE / "static"), name="static")
