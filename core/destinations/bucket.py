"""A result into a bucket: verified there, never overwriting other bytes unless told to."""

import dataclasses
from collections.abc import Sequence

from core.destinations.errors import PushError
from core.destinations.outgoing import Outgoing, Pushed, Tell, meter
from core.destinations.places import Bucket
from core.errors import ArtifactNotFound, CorruptObject, OutputExists, StoreError
from core.store.manifest import MANIFEST
from core.store.s3 import S3Store


def push(
    place: Bucket,
    files: Sequence[Outgoing],
    tell: Tell,
    *,
    replace: bool = False,
    resume: bool = False,
) -> Pushed:
    """Put `files` below `place`. Those that are there with the same SHA-256 are not sent again, nor,
    with `resume`, the parts that an earlier push left of them.

    Raises:
        OutputExists: a file is there with other bytes, and `replace` was not asked for.
        StoreError, DiskFull: the bucket does not take it.
        CorruptObject: it holds something else than what was sent.
    """
    store = S3Store(place.options)
    try:
        missing = [file for file in files if not _holds(store, file, replace=replace)]
        advance = meter(missing, tell)
        for file in missing:
            advance(file)
            store.put_file(file.name, file.path, resume=resume)
        for file in files:
            if store.recorded(file.name) != (file.bytes, file.sha256):
                raise CorruptObject(
                    f"{place}/{file.name} is not what was sent.",
                    remedy="Push again; if that fails too, somebody else writes there.",
                )
    except StoreError as error:
        # Its remedy speaks of the store that jobs lie in, which is another one.
        raise _elsewhere(error) from error
    sent = tuple(file.name for file in missing)
    kept = tuple(file.name for file in files if file.name not in sent)
    return Pushed(str(place), None, sent, kept, sum(file.bytes for file in missing))


def look(place: Bucket) -> None:
    """Ask for what a push asks for first, without the patience of one.

    Raises:
        StoreError: the bucket is not there, does not answer, or not to these credentials.
    """
    try:
        S3Store(dataclasses.replace(place.options, attempts=2, timeout=3.0)).recorded(MANIFEST)
    except ArtifactNotFound:
        return
    except StoreError as error:
        raise _elsewhere(error) from error


def _holds(store: S3Store, file: Outgoing, *, replace: bool) -> bool:
    try:
        size, digest = store.recorded(file.name)
    except ArtifactNotFound:
        return False
    if (size, digest) == (file.bytes, file.sha256):
        return True
    if not replace:
        raise OutputExists(
            f"{store.place}/{file.name} is there with other bytes.",
            remedy="Choose another prefix, or overwrite it with --force.",
        )
    return False


def _elsewhere(error: StoreError) -> StoreError | PushError:
    remedy = error.remedy.replace("SECATEUR_STORE_URL", "the destination")
    return type(error)(error.message, remedy=remedy)
