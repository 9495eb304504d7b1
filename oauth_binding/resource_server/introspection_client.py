"""Asking the server about access tokens (RFC 7662)."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from http.client import HTTPException
from time import time
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote_plus, urlencode

from django.core.cache import DEFAULT_CACHE_ALIAS, cache

from oauth_binding.core.caches import CacheUnavailableError, asking
from oauth_binding.core.jose.remote_document import MALFORMED, TIMEOUT, download
from oauth_binding.core.jose.strict_json import read_object
from oauth_binding.core.log_lines import one_line
from oauth_binding.resource_server import claim_rules
from oauth_binding.resource_server.errors import RefusedTokenError, ServerUnavailableError
from oauth_binding.resource_server.settings import resource_server_settings

logger = logging.getLogger(__name__)

#: The ``token_type`` of sender-constrained access tokens, in lower case (RFC 9449 section 6.2).
_CONSTRAINED: Final = "dpop"

#: The ``token_type`` of access tokens, in lower case: also that of RFC 6750, and what some servers say
#: instead.
_ACCESS_TOKEN_TYPES: Final = (
    _CONSTRAINED,
    "bearer",
    "access_token",
    "urn:ietf:params:oauth:token-type:access_token",
)

#: What the cache is asked for.
_ANSWERS: Final = "answers of the introspection endpoint"

#: The answers that are being waited for, by cache key.
_in_flight: dict[str, Future[dict[str, Any] | None]] = {}
_lock = threading.Lock()


def introspect(text: str) -> dict[str, Any]:
    """Return what the server says about a valid access token.

    An answer is kept in Django's default cache for ``INTROSPECTION_CACHE_SECONDS``, and no longer than the
    token lives. If that cache does not answer, the server is asked. Of simultaneous requests with the same
    token, one in each process asks.

    :raises RefusedTokenError: the token is not active, not an access token, or not for this API.
    :raises ServerUnavailableError: the server does not answer, or not as in RFC 7662 section 2.2.
    """
    answer = _get_answer(text)
    if not answer["active"]:
        raise RefusedTokenError("it is not active")
    token_type = str(answer.get("token_type", "bearer")).lower()
    if token_type not in _ACCESS_TOKEN_TYPES:
        raise RefusedTokenError("its token_type is not that of access tokens")
    if token_type == _CONSTRAINED and "cnf" not in answer:
        raise RefusedTokenError("its token_type is DPoP, and it has no cnf")
    claim_rules.check_values(answer)
    return answer


def _get_answer(text: str) -> dict[str, Any]:
    key = _cache_key(text)
    answer: dict[str, Any] | None = None
    is_kept = True
    try:
        answer = _look_up(key)
    except CacheUnavailableError:
        is_kept = False
    if answer is not None:
        return answer
    with _flight(key) as (future, is_mine):
        if is_mine:
            # A cache that hangs is waited for once.
            answer = _ask_and_keep(key, text) if is_kept else _ask(text)
            future.set_result(answer)
        else:
            try:
                answer = future.result(2 * TIMEOUT)
            except TimeoutError:
                answer = None
    if answer is None:
        raise ServerUnavailableError
    return answer


def _ask_and_keep(key: str, text: str) -> dict[str, Any]:
    answer: dict[str, Any] | None = None
    with suppress(CacheUnavailableError):
        # Another request may have got an answer before this one began to ask.
        answer = _look_up(key)
    if answer is None:
        answer = _ask(text)
        with suppress(CacheUnavailableError):
            _keep(key, answer)
    return answer


def _look_up(key: str) -> dict[str, Any] | None:
    with asking(DEFAULT_CACHE_ALIAS, _ANSWERS):
        answer: dict[str, Any] | None = cache.get(key)
    return answer


@contextmanager
def _flight(key: str) -> Iterator[tuple[Future[dict[str, Any] | None], bool]]:
    """Enter with the future answer, and whether the caller has to get it; without a key it is None."""
    mine: Future[dict[str, Any] | None] = Future()
    with _lock:
        future = _in_flight.setdefault(key, mine)
    if future is not mine:
        yield future, False
        return
    try:
        yield mine, True
    finally:
        with _lock:
            del _in_flight[key]
        if not mine.done():
            mine.set_result(None)


def _cache_key(text: str) -> str:
    parts = [resource_server_settings.introspection_url, resource_server_settings.client_id, text]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"oauth_binding.introspection:{digest}"


def _keep(key: str, answer: dict[str, Any]) -> None:
    seconds = resource_server_settings.introspection_cache_seconds
    if "exp" in answer:
        seconds = min(seconds, answer["exp"] - time())
    if seconds > 0:
        with asking(DEFAULT_CACHE_ALIAS, _ANSWERS):
            cache.set(key, answer, seconds)


def _ask(text: str) -> dict[str, Any]:
    """Return the answer of the introspection endpoint, whose members have the right types.

    :raises ServerUnavailableError: there is none.
    """
    url = resource_server_settings.introspection_url
    form = urlencode({"token": text, "token_type_hint": "access_token"}).encode()
    headers = {"Accept": "application/json", "Authorization": _basic_authorization()}
    try:
        return _read_answer(download(url, headers, form).body)
    except HTTPError as error:
        if error.code == 401:
            logger.error("The introspection endpoint at %s does not accept CLIENT_ID and CLIENT_SECRET.", url)
        else:
            logger.warning("The introspection endpoint at %s answers %d.", url, error.code)
    except HTTPException as error:
        # Its text has what was answered, which may repeat what was sent.
        logger.warning("The introspection endpoint at %s can't be used: %s", url, type(error).__name__)
    except (OSError, *MALFORMED) as error:
        logger.warning("The introspection endpoint at %s can't be used: %s", url, one_line(error))
    raise ServerUnavailableError


def _basic_authorization() -> str:
    # RFC 6749 section 2.3.1: both are form-encoded first.
    credentials = (resource_server_settings.client_id, resource_server_settings.client_secret)
    encoded = base64.b64encode(":".join(map(quote_plus, credentials)).encode())
    return f"Basic {encoded.decode()}"


def _read_answer(body: bytes) -> dict[str, Any]:
    """Return the members of an answer that are present; without nulls, which mean the same as no member.

    :raises ValueError, RecursionError: it is not an answer.
    """
    answer = {name: value for name, value in read_object(body).items() if value is not None}
    if not isinstance(answer.get("active"), bool):
        raise ValueError("its answer has no active")
    if not answer["active"]:
        return {"active": False}
    claim_rules.check_types(answer)
    return answer
