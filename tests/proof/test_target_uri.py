"""When two addresses are the same for a proof: RFC 9449 section 4.3, RFC 3986 section 6.2.2."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from oauth_binding.proof.target_uri import address_of, normalise

#: The address of a request, and what means the same.
SAME = {
    "https://api.example/": [
        "https://api.example",
        "HTTPS://API.Example",
        "https://api.example:443",
        "https://api.example:/",
        "https://api.example?",
        "https://api.example/?a=b",
        "https://api.example/#c",
        "https://api.example?a=/b#/c?d",
        "https://api.example/.",
        "https://api.example/..",
        "https://api.example/a/..",
        "https://api.example/a/b/../../",
    ],
    "http://api.example/a": ["http://api.example:80/a", "http://api.example:080/a"],
    "https://api.example:8443/a": ["https://API.EXAMPLE:8443/a?b"],
    "https://api.example:80/a": ["HTTPS://api.example:80/a"],
    "https://api.example/a/b": [
        "https://api.example/%61/b",
        "https://api.example/%61%2Fb",
        "https://api.example/a%2fb",
        "https://api.example/a/./b",
        "https://api.example/./a/c/../b",
        "https://api.example/../a/b",
        "https://api.example/a/%2e/b",
        "https://api.example/a/c/%2E%2e/b",
    ],
    "https://api.example/a//b": ["https://api.example/a/%2Fb", "https://api.example/a/./%2fb"],
    "https://api.example//a": ["https://api.example/%2Fa"],
    "https://api.example/~user": ["https://api.example/%7Euser", "https://api.example/%7euser"],
    "https://api.example/%C3%A9": ["https://api.example/%c3%a9", "https://api.example/é"],
    "https://api.example/a%20b": ["https://api.example/%61%20%62"],
    "https://api.example/a%3Fb": ["https://api.example/a%3fb?c"],
    "https://api.example/a%23b": ["https://api.example/a%23b#c"],
    "https://api.example/a;b=c,d": ["https://api.example/a%3Bb%3Dc%2Cd"],
    "https://[2001:db8::1]/a": ["https://[2001:DB8::1]:443/%61"],
    "https://192.0.2.1/a": ["https://192.0.2.1:443/a"],
}

#: Pairs of addresses that are two.
DIFFERENT = [
    ("https://api.example/a", "http://api.example/a"),
    ("https://api.example/a", "https://api.example/A"),
    ("https://api.example/a", "https://api.example/a/"),
    ("https://api.example/a", "https://api.example//a"),
    ("https://api.example/a", "https://api.example./a"),
    ("https://api.example/a", "https://api.example:444/a"),
    ("https://api.example/a", "https://api.example:80/a"),
    ("https://api.example/a", "https://api.example.evil.example/a"),
    ("https://api.example/a", "https://evil.example/https://api.example/a"),
    # Escapes are taken away once.
    ("https://api.example/a", "https://api.example/%2561"),
    ("https://api.example/%61%25", "https://api.example/a%2525"),
    ("https://api.example/a?b", "https://api.example/a%3Fb"),
    ("https://api.example/a#b", "https://api.example/a%23b"),
    ("https://api.example/a+b", "https://api.example/a%20b"),
    ("https://api.example/%C3%A9", "https://api.example/%E9"),
    ("https://api.example/e%CC%81", "https://api.example/%C3%A9"),
    ("https://api.example/...", "https://api.example/"),
    ("https://[2001:db8::1]/", "https://[2001:db8::2]/"),
]

NO_ADDRESS = [
    "",
    "/a",
    "a",
    "//api.example/a",
    "api.example/a",
    "https:",
    "https:/a",
    "https://",
    "https:///a",
    "https://:443/a",
    "https:api.example/a",
    "ftp://api.example/a",
    "urn:ietf:params:oauth:grant-type:device_code",
    "javascript:https://api.example/",
    "https://user@api.example/a",
    "https://user:password@api.example/a",
    "https://@api.example/a",
    "https://api.example@evil.example/a",
    "https://api.example:x/a",
    "https://api.example:65536/a",
    "https://api.example:-1/a",
    "https://api.example:443:443/a",
    "https://[2001:db8::1/a",
    "https://2001:db8::1]/a",
    "https://api.example/a\n",
    "https://api.example/\ta",
    "https://api.exam\nple/a",
    "https://api.example/a b",
    " https://api.example/a",
    "https://api.example/a\0",
    "https://api.example\\@evil.example/a",
    "https://api.example/a\u200b",
    "https://api.example/\ud800",
]


@pytest.mark.parametrize(("address", "others"), SAME.items(), ids=SAME)
def test_ways_to_write_an_address(address: str, others: list[str]) -> None:
    assert [other for other in [address, *others] if normalise(other) != normalise(address)] == []


@pytest.mark.parametrize(("address", "other"), DIFFERENT)
def test_other_addresses(address: str, other: str) -> None:
    assert normalise(address) != normalise(other)


def test_all_addresses_of_the_first_table_are_different() -> None:
    assert len({normalise(address) for address in SAME}) == len(SAME)


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        normalise(text)


@given(st.text() | st.text().map("https://api.example/{}".format) | st.text().map("https://{}/a".format))
def test_any_text_is_an_address_or_is_none(text: str) -> None:
    try:
        normalised = normalise(text)
    except ValueError:
        return
    assert normalised.startswith(("https://", "http://"))


@pytest.mark.parametrize(
    "path",
    ["/", "/a/", "/a%20b", "/%C3%A9", "/a%2Fb", "/a//b", "//a", "/a%25b", "/a;b=c,d:e@f!g$&'()*+", "/%FF"],
)
def test_the_address_of_a_request_is_what_its_client_has_asked(path: str) -> None:
    # As WSGI has it (PEP 3333): decoded, and its bytes as latin-1.
    environ: dict[str, Any] = {
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "HTTP_HOST": "api.example",
    }
    request = RequestFactory().get("/", {"a": "b"}, secure=True, **environ)

    assert normalise(address_of(request)) == normalise(f"https://api.example{path}")


def test_an_origin_that_is_public_stands_before_the_path() -> None:
    request = RequestFactory().get("/a?b=c", headers={"Host": "10.0.0.1:8000"})

    assert address_of(request, "https://api.example") == "https://api.example/a"
    assert address_of(request) == "http://10.0.0.1:8000/a"
