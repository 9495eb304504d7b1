"""Documents at configured addresses: fetched within a time limit, and kept for all threads of a process."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic
from typing import Final
from urllib.error import HTTPError
from urllib.request import Request

from oauth_binding.core.jose.timed_http import open_in_time
from oauth_binding.core.log_lines import one_line

logger = logging.getLogger(__name__)

#: How long one attempt may take altogether, in seconds.
TIMEOUT: Final = 5

#: The largest answer that is read if no other limit is given, in bytes.
MAX_SIZE: Final = 1024 * 1024

#: How long to leave a server alone after an attempt to fetch a document, in seconds.
PAUSE: Final = 10

#: What is raised while something that somebody else has written is read, if it is not what it has to be.
#: There is no TypeError, as types are checked first: one would be a mistake of this app.
MALFORMED: Final = (ValueError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    body: bytes
    #: Its validator (RFC 9110 section 8.8.3), or None.
    etag: str | None


def now() -> float:
    """Return the time on the clock that ages are measured by, in seconds."""
    return monotonic()


def download(
    url: str, headers: Mapping[str, str], form: bytes | None = None, *, max_size: int = MAX_SIZE
) -> Answer:
    """Return what is at an address from the configuration. Redirects are not followed.

    :param url: https, or http on the machine itself; system checks ensure that.
    :param headers: of the request.
    :param form: what to POST, encoded; None for a GET request.
    :param max_size: the largest body that is read, in bytes.
    :raises urllib.error.HTTPError: the server has answered with a status other than 2xx.
    :raises OSError, HTTPException: there is no answer, or not all of it within ``TIMEOUT``.
    :raises ValueError: it is too large.
    """
    body = bytearray()
    # https or http, see setting_rules.is_secure_url()
    request = Request(url, form, {"User-Agent": "django-oauth-binding", **headers})  # noqa: S310
    try:
        with open_in_time(request, TIMEOUT) as response:
            while piece := response.read1(MAX_SIZE):
                body += piece
                if len(body) > max_size:
                    raise ValueError(f"it has more than {max_size} bytes")
            return Answer(bytes(body), response.headers["ETag"])
    except HTTPError as error:
        error.close()
        raise


class RemoteDocument:
    """The document at an address, fetched by one thread at a time and kept for the others of this process.

    A failed attempt leaves in place what was fetched before.
    """

    #: What it is called in the log.
    name: str

    def __init__(self, url: str) -> None:
        """:param url: where it is."""
        self.url = url
        self._fetched = self._tried = -math.inf
        self._lock = threading.Lock()

    @property
    def age(self) -> float:
        """How long ago what is kept was asked for, in seconds; infinite if nothing is kept."""
        return now() - self._fetched

    @property
    def is_out_of_reach(self) -> bool:
        """Whether the last attempt failed."""
        return self._tried > self._fetched

    @property
    def pause(self) -> float:
        """How long to leave the server alone after an attempt, in seconds."""
        return PAUSE

    def load(self) -> None:
        """Fetch the document and keep it.

        :raises OSError, HTTPException: it can't be fetched.
        :raises ValueError, OverflowError, RecursionError: it is not what it has to be.
        """
        raise NotImplementedError

    def refresh(self, max_age: float, *, wait: bool) -> None:
        """Fetch the document if that is due.

        :param max_age: how old it may be without being fetched again, in seconds.
        :param wait: whether to wait for another thread that fetches it.
        """
        if not self._is_due(max_age) or not self._lock.acquire(timeout=TIMEOUT if wait else 0):
            return
        try:
            if self._is_due(max_age):  # pragma: no branch - another thread may have fetched it
                self._try()
        finally:
            self._lock.release()

    def _is_due(self, max_age: float) -> bool:
        return self.age > max_age and now() - self._tried > self.pause

    def _try(self) -> None:
        asked = now()
        try:
            self.load()
        except (OSError, HTTPException, *MALFORMED) as error:
            logger.warning("The %s at %s can't be fetched: %s", self.name, self.url, one_line(error))
            self._tried = now()
        else:
            self._fetched = self._tried = asked
