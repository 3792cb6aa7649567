"""A bucket at the other end of a line that can be broken."""

import random
from dataclasses import dataclass, replace
from typing import Any

from core.store.s3 import S3Store
from tests.faulty_proxy import FaultyProxy

DATA = random.Random(7).randbytes(700_000)
LARGE = random.Random(8).randbytes(11_000_000)  # three parts


@dataclass(frozen=True)
class Line:
    """One bucket, reached straight and through a proxy that breaks things."""

    direct: S3Store
    far: S3Store
    proxy: FaultyProxy

    def with_options(self, **options: Any) -> S3Store:
        return S3Store(replace(self.far.options, **options))

    def ending(self, key: str) -> str:
        """How the request begins that joins the parts of `key`."""
        return f"POST /{self.far.options.bucket}/{self.far.options.prefix}/{key}?uploadId"
