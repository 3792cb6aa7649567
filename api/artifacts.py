"""What a job left: the list, the files (whole or in ranges), and the report."""

import hashlib
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from pydantic import BaseModel, Field

from api import openapi
from api.auth import READS
from api.dependencies import JobId, Jobs, Store, Tenant
from api.negotiation import preferred
from api.problems import NotAcceptable, PreconditionFailed, RangeNotSatisfiable, documented
from api.ranges import Span, matches, parse_range
from core.errors import (
    ArtifactNotFound,
    ArtifactsExpired,
    CorruptObject,
    JobNotFound,
    WrongState,
)
from core.jobs.store import JobStore
from core.store.base import ObjectStore
from core.store.keys import file_name
from core.store.manifest import MANIFEST, ManifestFile, media_type, read

_CHUNK: Final = 1 << 20
_REPORTS: Final = {"application/json": "report/report.json", "text/html": "report/report.html"}
_LINK_SECONDS: Final = 900  # to begin a download in; one that has begun goes on
_PARTS_OF_PAGES: Final = ("text/html", "image/png", "image/svg+xml")
_SHOWN: Final = (*_PARTS_OF_PAGES, "application/json", "text/plain")

router = APIRouter(
    prefix="/v1/jobs/{job_id}",
    tags=["artifacts"],
    dependencies=[READS],
    responses=documented(JobNotFound, ArtifactsExpired, CorruptObject),
)


class Artifact(BaseModel):
    name: str = Field(description="path below the job, such as model/config.json")
    bytes: int
    sha256: str
    media_type: str
    url: str = Field(description="where to download it, relative to this server")


class ArtifactList(BaseModel):
    data: list[Artifact]


class Published:
    """The files of a job's one winning attempt, as its manifest names them."""

    def __init__(self, store: ObjectStore, manifest_key: str) -> None:
        data = store.read_bytes(manifest_key)
        itself = ManifestFile(
            name=MANIFEST, bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
        )
        self.files = {f.name: f for f in (*read(data).files, itself)}
        self._folder = manifest_key.removesuffix(MANIFEST)

    def key(self, file: ManifestFile) -> str:
        return self._folder + file.name


def published(jobs: JobStore, store: ObjectStore, tenant: str, job_id: str) -> Published | None:
    """What the job published; None unless it has succeeded. Raises JobNotFound, ArtifactsExpired."""
    key = jobs.manifest_key(tenant, job_id)
    try:
        return None if key is None else Published(store, key)
    except ArtifactNotFound:
        jobs.manifest_key(tenant, job_id)  # says so if it has expired since
        raise


@router.get(
    "/artifacts",
    summary="List a job's artifacts",
    response_model=ArtifactList,
    response_description="Empty until the job has succeeded.",
    responses=openapi.example(200, {"data": [openapi.ARTIFACT]}),
)
def list_artifacts(job_id: JobId, jobs: Jobs, store: Store, tenant: Tenant) -> ArtifactList:
    """Every file with its size and SHA-256, the manifest itself included."""
    found = published(jobs, store, tenant, job_id)
    files = found.files.values() if found else ()
    return ArtifactList(
        data=[
            Artifact(
                name=f.name,
                bytes=f.bytes,
                sha256=f.sha256,
                media_type=media_type(f.name),
                url=f"/v1/jobs/{job_id}/artifacts/{quote(f.name)}",
            )
            for f in files
        ]
    )


@router.head("/artifacts/{name:path}", include_in_schema=False)
@router.get(
    "/artifacts/{name:path}",
    summary="Download an artifact",
    response_class=StreamingResponse,
    responses={
        **openapi.FILE,
        **documented(
            JobNotFound, ArtifactNotFound, ArtifactsExpired, PreconditionFailed, RangeNotSatisfiable
        ),
    },
    openapi_extra=openapi.FILE_REQUEST,
)
def read_artifact(
    *,
    request: Request,
    job_id: JobId,
    name: Annotated[str, Path(description="as the list has it", examples=["model/config.json"])],
    jobs: Jobs,
    store: Store,
    tenant: Tenant,
) -> Response:
    """Streams the file, or answers 307 to where an S3 store gives it.

    `ETag` is its SHA-256; `Range` with `If-Range` or `If-Match` resumes safely, and is never redirected.
    """
    found = published(jobs, store, tenant, job_id)
    file = found.files.get(name) if found else None
    if found is None or file is None:
        raise ArtifactNotFound(
            f"job {job_id} has no artifact {name[:200]!r}.",
            remedy=f"GET /v1/jobs/{job_id}/artifacts lists what there is.",
        )
    return serve(request, store, found.key(file), file, redirect=True)


@router.get(
    "/report",
    summary="Read a job's report",
    response_class=Response,
    responses={
        **openapi.REPORT,
        **documented(
            JobNotFound,
            WrongState,
            ArtifactNotFound,
            ArtifactsExpired,
            NotAcceptable,
            PreconditionFailed,
            RangeNotSatisfiable,
        ),
    },
    openapi_extra=openapi.FILE_REQUEST,
)
def read_report(
    request: Request, job_id: JobId, jobs: Jobs, store: Store, tenant: Tenant
) -> Response:
    """JSON, or one self-contained page for a client that prefers `text/html`."""
    kind = preferred(request.headers.get("accept"), tuple(_REPORTS))
    if kind is None:
        raise NotAcceptable(
            "the report comes as application/json or text/html.",
            remedy="Send one of them in Accept, or leave it out.",
        )
    found = published(jobs, store, tenant, job_id)
    if found is None:
        state = jobs.get(tenant, job_id).state
        raise WrongState(
            f"job {job_id} is {state} and has no report.",
            remedy=f"A report appears when a job succeeds; GET /v1/jobs/{job_id} says how it stands.",
        )
    file = found.files.get(_REPORTS[kind])
    if file is None:
        raise ArtifactNotFound(f"job {job_id} left no {_REPORTS[kind]}.")
    if kind == "text/html" and request.headers.get("sec-fetch-mode") == "navigate":
        # The page links to the files beside it, so a browser has to be where they are.
        return RedirectResponse(
            f"artifacts/{file.name}", headers={"Vary": "Accept, Sec-Fetch-Mode"}
        )
    response = serve(request, store, found.key(file), file)
    response.headers["Vary"] = "Accept, Sec-Fetch-Mode"
    return response


def serve(
    request: Request, store: ObjectStore, key: str, file: ManifestFile, *, redirect: bool = False
) -> Response:
    """The object, or the part of it that the request's conditions and range leave.

    With `redirect`, the address of the object instead, if the store gives it to anyone.

    Raises:
        PreconditionFailed: If-Match names other bytes.
        RangeNotSatisfiable: the range lies outside.
        CorruptObject: the store holds another number of bytes than the manifest says.
    """
    etag = f'"{file.sha256}"'
    headers = request.headers
    if "if-match" in headers and not matches(headers["if-match"], etag, weak=False):
        raise PreconditionFailed(
            f"{file.name} is not what If-Match names.", remedy="Start the download anew."
        )
    answer = _file_headers(file, etag)
    if matches(headers.get("if-none-match", ""), etag, weak=True):
        return Response(status_code=304, headers=answer)
    if store.info(key).bytes != file.bytes:
        raise CorruptObject(
            f"{file.name} differs in size from its manifest.", remedy="Run it again."
        )
    ranged = "if-range" not in headers or matches(headers["if-range"], etag, weak=False)
    span = parse_range(headers.get("range"), file.bytes) if ranged else None
    url = _link(request, store, key, file) if redirect else None
    if url is not None:
        return RedirectResponse(url, headers={"ETag": etag, "Cache-Control": "no-store"})
    status = 200 if span is None else 206
    if span is not None:
        answer["Content-Range"] = span.content_range(file.bytes)
    span = span or Span(0, file.bytes)
    answer["Content-Length"] = str(span.length)
    if request.method == "HEAD":
        return Response(status_code=status, headers=answer, media_type=media_type(file.name))
    return StreamingResponse(
        chunks(store.open(key, span.start), span.length),
        status_code=status,
        headers=answer,
        media_type=media_type(file.name),
    )


def _link(request: Request, store: ObjectStore, key: str, file: ManifestFile) -> str | None:
    """Where the request may be sent; None if this server has to answer it.

    It has to where a condition names our ETag, which the store would hold against its own, and
    for the report's page and pictures, whose links and policy end at this server.
    """
    conditions = {"if-match", "if-range"} & set(request.headers)
    shown = media_type(file.name).partition(";")[0] in _PARTS_OF_PAGES
    if request.method == "HEAD" or conditions or shown:
        return None
    return store.presign(key, file.name.rpartition("/")[2], _LINK_SECONDS)


def chunks(reader: BinaryIO, count: int) -> Iterator[bytes]:
    """`count` bytes from `reader`, piece by piece; raises CorruptObject if there are fewer."""
    with reader:
        while count:
            data = reader.read(min(count, _CHUNK))
            if not data:
                raise CorruptObject("an artifact ended early while it was being sent.")
            count -= len(data)
            yield data


def _file_headers(file: ManifestFile, etag: str) -> dict[str, str]:
    name = file.name.rpartition("/")[2]
    shown = media_type(file.name).partition(";")[0] in _SHOWN
    return {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; {file_name(name)}",
        # A page made from a stranger's model must not act as a page of this server.
        "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data: 'self'; font-src data:",
    }
