"""Whether an answer is the one that a page shows, but for what differs from time to time."""

from __future__ import annotations

import json
import re
from typing import Any, Final

#: A token, a key or the like of which a page shows the beginning and the end.
SHORTENED: Final = re.compile(r"[\w-]+\.\.\.[\w-]+")

#: How far a lifetime may be from the one in the page, in seconds.
_LEEWAY: Final = 60

_MOMENTS: Final = {"exp", "iat", "nbf", "first", "closed", "listed", "from", "until", "published_until"}
_RANDOM: Final = {"jti", "kid", "x", "y", "d"}
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
#: The ``jti`` of a token, or a moment.
_RANDOM_NAME: Final = re.compile(r"[\w-]{22}|\d{10}")
_DIGEST: Final = re.compile("[0-9a-f]{32}")
#: How many tokens there are, and a sum that depends on which.
_STATE: Final = re.compile(r"(\d+)\.\d{6,}")


class Tokens:
    """What a page calls the tokens that the server has answered."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def note(self, name: str, text: str) -> None:
        self._texts[name] = text

    def fill_in(self, text: str) -> str:
        """Return a command with the tokens themselves.

        :raises AssertionError: the page has not said yet where one of them comes from.
        """

        def token(match: re.Match[str]) -> str:
            assert match[0] in self._texts, f"{match[0]} was not answered before"
            return self._texts[match[0]]

        return SHORTENED.sub(token, text)

    def assert_named(self, name: str, text: Any) -> None:
        """Assert that a token is the one of a name, or, under a new name, a new one."""
        assert isinstance(text, str), text
        assert len(text) >= 20, text
        if name in self._texts:
            assert text == self._texts[name], f"{name} is not the same again"
        else:
            assert text not in self._texts.values(), f"{name} is not a new one"
            self._texts[name] = text
        # The form: three parts for a JWT.
        assert text.startswith("eyJ") is name.startswith("eyJ"), f"{name}: {text}"


def read(text: str) -> list[Any]:
    """Return the values of JSON texts that follow one another."""
    decoder, values = json.JSONDecoder(), []
    text = text.strip()
    while text:
        try:
            value, end = decoder.raw_decode(text)
        except ValueError as error:
            raise AssertionError(f"no JSON: {text}") from error
        values.append(value)
        text = text[end:].strip()
    return values


def assert_alike(shown: Any, answered: Any, tokens: Tokens, member: str = "") -> None:
    """Assert that a value is the one in the page, but for tokens, dates and what is random.

    :param shown: the value in the page.
    :param answered: the one of the server.
    :param member: the name of the member that it is of.
    """
    message = f"{member}: {answered!r}, and not as {shown!r}"
    if isinstance(shown, dict):
        assert isinstance(answered, dict), message
        if shown and all(map(_RANDOM_NAME.fullmatch, shown)):
            assert answered, message
            assert all(map(_RANDOM_NAME.fullmatch, answered)), message
            shown = dict.fromkeys(answered, next(iter(shown.values())))
        assert list(shown) == list(answered) if member == "act" else shown.keys() == answered.keys(), message
        for name, value in shown.items():
            assert_alike(value, answered[name], tokens, name)
    elif isinstance(shown, list):
        assert isinstance(answered, list), message
        assert len(shown) == len(answered), message
        for one, other in zip(shown, answered, strict=True):
            assert_alike(one, other, tokens, member)
    elif member == "expires_in":
        assert isinstance(answered, int), message
        assert shown - _LEEWAY <= answered <= shown + _LEEWAY, message
    elif isinstance(shown, int) and (member in _MOMENTS or shown > 10**9):
        assert isinstance(answered, int), message
        assert answered > 10**9, message
    elif shown == "…":
        assert answered, message
    elif isinstance(shown, str) and SHORTENED.fullmatch(shown):
        tokens.assert_named(shown, answered)
    elif member in _RANDOM:
        assert isinstance(answered, str), message
        assert len(answered) == len(shown), message
    elif isinstance(shown, str) and _DIGEST.fullmatch(shown):
        assert _DIGEST.fullmatch(answered), message
    elif isinstance(shown, str) and (state := _STATE.fullmatch(shown)):
        found = _STATE.fullmatch(answered)
        assert found, message
        assert found[1] == state[1], message
    elif isinstance(shown, str) and _DATE.fullmatch(shown):
        assert _DATE.fullmatch(answered), message
    else:
        assert answered == shown, message


def assert_lines_alike(shown: str, printed: str) -> None:
    """Assert that what a command printed is what the page shows, but for dates and the names of keys."""

    def plain(text: str) -> str:
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<date>", text)
        return re.sub(r"(?<![\w-])[\w-]{43}(?![\w-])", "<key>", text).strip()

    assert plain(printed) == plain(shown), printed
