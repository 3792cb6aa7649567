"""How many requests of a process may wait for news, together and of one tenant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from core.waiting_errors import NoPlaceToWait, TooManyWaiting


class Places:
    """To be used from one event loop, so nothing has to be locked."""

    def __init__(self, most: int, most_of_a_tenant: int) -> None:
        self._most, self._most_of_a_tenant = most, most_of_a_tenant
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        return self._taken.total()

    @contextmanager
    def one(self, tenant: str) -> Iterator[None]:
        """A place until the end of the block. Raises TooManyWaiting, NoPlaceToWait."""
        if self._taken[tenant] >= self._most_of_a_tenant:
            raise TooManyWaiting(self._most_of_a_tenant)
        if self.taken >= self._most:
            raise NoPlaceToWait
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]  # tenants come and go
