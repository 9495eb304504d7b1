"""Bad token exchange requests (RFC 8693) get an OAuth error, never a server error, and leave nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings as django_settings
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding, TokenExchange
from tests.helpers.bad_input import JUNK, TOKEN, assert_answered, encoded
from tests.helpers.client import Answer, Site
from tests.helpers.exchange import ACCESS_TOKEN, GRANT_TYPE, JWT, allow

#: Each parameter of RFC 8693 section 2.1, and the binding's.
PARAMETERS = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "scope",
    "audience",
    "resource",
    "tokenBindingId",
]

#: Those that may be repeated, because the RFC says so.
REPEATABLE = {"audience", "resource"}

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"


@pytest.fixture
def mobile(make_bound: Callable[..., Site]) -> Site:
    return make_bound("opaque")


@pytest.fixture
def backend(make_bound: Callable[..., Site], mobile: Site) -> Site:
    backend = make_bound(
        "opaque", "client_credentials", as_user=None, additional_grant_types="token-exchange"
    )
    allow(backend, mobile, delegation=True, audiences="orders https://orders.example", refresh_tokens=True)
    return backend


@pytest.fixture
def form(backend: Site, mobile: Site) -> dict[str, str]:
    """A request with each parameter, which is answered with a token."""
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": mobile.bound("phone").access,
        "subject_token_type": ACCESS_TOKEN,
        "actor_token": backend.bound("actor").access,
        "actor_token_type": ACCESS_TOKEN,
        "requested_token_type": ACCESS_TOKEN,
        "scope": "read",
        "audience": "orders",
        "resource": "https://orders.example",
        "tokenBindingId": "one",
    }
    assert backend.post(TOKEN, form).status == 200
    assert list(form) == PARAMETERS
    return form


def stored() -> list[int]:
    """Return how many rows there are of what a token exchange stores."""
    models: list[Any] = [get_access_token_model(), get_refresh_token_model(), TokenBinding, TokenExchange]
    return [model.objects.count() for model in models]


def assert_refused(answer: Answer) -> None:
    assert_answered(answer)
    assert answer.status == 400


@pytest.mark.parametrize("kind", JUNK)
@pytest.mark.parametrize("name", PARAMETERS)
def test_junk_in_any_parameter(backend: Site, form: dict[str, str], name: str, kind: str) -> None:
    before = stored()
    del form[name]

    answer = backend.post(TOKEN, f"{urlencode(form)}&{encoded(name, kind)}")

    assert_answered(answer)
    if answer.status != 200:
        assert stored() == before


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\x7f", "\x85"])
@pytest.mark.parametrize("name", PARAMETERS)
def test_control_characters_are_refused(
    backend: Site, form: dict[str, str], name: str, character: str
) -> None:
    before = stored()

    value = form[name]
    assert_refused(backend.post(TOKEN, {**form, name: f"{value[:2]}{character}{value[2:]}"}))

    assert stored() == before


@pytest.mark.parametrize("name", PARAMETERS)
def test_values_that_are_too_long_are_refused(backend: Site, form: dict[str, str], name: str) -> None:
    before = stored()

    assert_refused(backend.post(TOKEN, {**form, name: form[name] + "x" * 100_000}))

    assert stored() == before


#: Where a site still has the endpoints of django-oauth-toolkit (W001), oauthlib drops what is empty.
REPETITIONS = [
    *((django_settings.ROOT_URLCONF, other) for other in ("the same", "empty", "something else")),
    *(("tests.sites.plain_urls", other) for other in ("the same", "something else")),
]


@pytest.mark.parametrize(("urls", "other"), REPETITIONS)
@pytest.mark.parametrize("name", [name for name in PARAMETERS if name not in REPEATABLE])
def test_a_repeated_parameter_is_refused(
    backend: Site, form: dict[str, str], settings: Any, name: str, other: str, urls: str
) -> None:
    settings.ROOT_URLCONF = urls
    before = stored()
    value = {"the same": form[name], "empty": "", "something else": "x"}[other]

    for pairs in ([*form.items(), (name, value)], [(name, value), *form.items()]):
        answer = backend.post(TOKEN, pairs)

        assert_refused(answer)
        if answer["error"] == "invalid_request":
            assert name in answer["error_description"]
    assert stored() == before


@pytest.mark.parametrize("name", sorted(REPEATABLE))
def test_each_of_repeated_targets_is_checked(backend: Site, form: dict[str, str], name: str) -> None:
    for value in ("https://elsewhere.example", "\x00"):
        for pairs in ([*form.items(), (name, value)], [(name, value), *form.items()]):
            assert_refused(backend.post(TOKEN, pairs))
    assert backend.post(TOKEN, [*form.items(), (name, form[name])]).status == 200


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_in_the_query_string_are_refused(backend: Site, form: dict[str, str], name: str) -> None:
    """Query strings end up in logs."""
    query = urlencode({name: form[name]})
    rest = {key: value for key, value in form.items() if key != name}

    for body in (form, rest):
        answer = backend.post(f"{TOKEN}?{query}", body)

        assert_refused(answer)
        assert answer["error"] == "invalid_request"
    assert backend.post(f"{TOKEN}?{urlencode(form)}", "").status == 400


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded; charset=nonsense"]
)
def test_other_bodies_than_forms_are_refused(backend: Site, form: dict[str, str], content_type: str) -> None:
    before = stored()

    answer = Client().generic("POST", TOKEN, json.dumps(form), content_type, headers=backend.basic())

    assert answer.status_code in {400, 415}
    assert stored() == before


# Arbitrary forms

VALUES = st.one_of(
    st.sampled_from([GRANT_TYPE, ACCESS_TOKEN, JWT, ID_TOKEN, REFRESH_TOKEN, "", "read", "read write"]),
    st.sampled_from(["orders", "https://orders.example", *JUNK.values()]),
    st.text(max_size=50),
)
PAIRS = st.tuples(st.one_of(st.sampled_from(PARAMETERS), st.text(max_size=10)), VALUES)


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(left_out=st.sets(st.sampled_from(PARAMETERS[1:])), pairs=st.lists(PAIRS, max_size=4))
def test_any_form_is_answered_and_only_an_answer_stores(
    backend: Site, form: dict[str, str], left_out: set[str], pairs: list[tuple[str, str]]
) -> None:
    """A valid request of which something is left out, and to which something is added."""
    before = stored()
    kept = [(name, value) for name, value in form.items() if name not in left_out]

    # Lone surrogates can't be sent.
    body = urlencode([*kept, *pairs], errors="replace")
    answer = backend.post(TOKEN, body)

    assert_answered(answer)
    if answer.status == 200:
        assert answer["issued_token_type"] in {ACCESS_TOKEN, REFRESH_TOKEN}
    else:
        assert stored() == before
