"""A client registers that all its tokens are sender-constrained (RFC 9449 section 5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from oauth2_provider.models import get_application_model

from oauth_binding.models import TokenPolicy
from tests.helpers.client import Site, set_policy
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider
from tests.helpers.registration import OPEN, Registrar, metadata

TOKEN = "/oauth2/token/"

BOUND = {"dpop_bound_access_tokens": True}
NOT_BOUND = {"dpop_bound_access_tokens": False}


@pytest.fixture
def registrar(db: None) -> Iterator[Registrar]:
    with provider(**OPEN):
        yield Registrar(Client(enforce_csrf_checks=True))


def policies() -> list[tuple[str, str]]:
    return list(TokenPolicy.objects.values_list("sender_constraint", "require_sender_constraint"))


def demand_proofs(sender_constraint: str, demand: str) -> None:
    application = get_application_model().objects.get()
    set_policy(application, sender_constraint=sender_constraint, require_sender_constraint=demand)


def assert_refused(answer: Any) -> None:
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_client_metadata"
    assert "dpop_bound_access_tokens" in answer.json()["error_description"]


def test_a_client_that_asks_for_it_gets_no_tokens_without_a_proof(registrar: Registrar) -> None:
    registered = registrar.send("POST", metadata("client_credentials", **BOUND)).json()

    assert registered["dpop_bound_access_tokens"] is True
    assert registrar.send("GET").json()["dpop_bound_access_tokens"] is True
    application = get_application_model().objects.get()
    site = Site(application, secret=registered["client_secret"])
    assert site.token()["error"] == "invalid_dpop_proof"
    proof = {"DPoP": DeviceKey().proof("POST", TOKEN)}
    assert site.post(TOKEN, site.grant(), headers=proof)["token_type"] == "DPoP"


@pytest.mark.parametrize("asked", [{}, NOT_BOUND], ids=["nothing", "false"])
def test_a_client_that_does_not_is_as_any_other(registrar: Registrar, asked: dict[str, Any]) -> None:
    registered = registrar.send("POST", metadata("client_credentials", **asked))

    assert registered.status_code == 201
    for answer in (registered, registrar.send("PUT", metadata("client_credentials", **asked))):
        assert "dpop_bound_access_tokens" not in answer.json()
    assert policies() == []


def test_it_is_kept_with_several_grant_types(registrar: Registrar) -> None:
    registered = registrar.send("POST", metadata("password", "client_credentials", **BOUND)).json()

    assert registered["grant_types"] == ["password", "client_credentials"]
    assert registered["dpop_bound_access_tokens"] is True
    assert policies() == [("dpop", "yes")]


@pytest.mark.parametrize("before", [None, ("none", "no"), ("dpop", "no"), ("dpop", "report")], ids=str)
def test_an_update_can_ask_for_it(registrar: Registrar, before: tuple[str, str] | None) -> None:
    registrar.send("POST", metadata("client_credentials"))
    if before is not None:
        demand_proofs(*before)

    updated = registrar.send("PUT", metadata("client_credentials", **BOUND))

    assert updated.json()["dpop_bound_access_tokens"] is True
    assert policies() == [("dpop", "yes")]


def test_an_update_without_it_lifts_no_demand(registrar: Registrar) -> None:
    registrar.send("POST", metadata("client_credentials", **BOUND))

    updated = registrar.send("PUT", metadata("client_credentials", client_name="Renamed"))

    assert updated.json()["dpop_bound_access_tokens"] is True
    assert policies() == [("dpop", "yes")]


def test_an_update_against_it_is_refused_altogether(registrar: Registrar) -> None:
    registrar.send("POST", metadata("client_credentials", **BOUND))

    assert_refused(registrar.send("PUT", metadata("client_credentials", client_name="Renamed", **NOT_BOUND)))

    # The registration access token, which an update replaces, is the old one, too.
    unchanged = registrar.send("GET").json()
    assert unchanged["dpop_bound_access_tokens"] is True
    assert "client_name" not in unchanged


def test_an_update_against_it_is_fine_where_nothing_is_demanded(registrar: Registrar) -> None:
    registrar.send("POST", metadata("client_credentials"))
    demand_proofs("dpop", "report")

    assert registrar.send("PUT", metadata("client_credentials", **NOT_BOUND)).status_code == 200

    assert policies() == [("dpop", "report")]


@pytest.mark.parametrize("value", [None, "true", 1, 0, [], {}, ""], ids=repr)
def test_it_is_true_or_false(registrar: Registrar, value: Any) -> None:
    refused = registrar.send("POST", metadata("client_credentials", dpop_bound_access_tokens=value))
    assert_refused(refused)
    assert not get_application_model().objects.exists()

    registrar.send("POST", metadata("client_credentials"))
    assert_refused(registrar.send("PUT", metadata("password", dpop_bound_access_tokens=value)))
    assert registrar.send("GET").json()["grant_types"] == ["client_credentials"]


def test_what_is_wrong_otherwise_is_said_as_without_it(registrar: Registrar) -> None:
    refused = registrar.send("POST", metadata("telepathy", dpop_bound_access_tokens="true"))

    assert "telepathy" in refused.json()["error_description"]


@pytest.mark.parametrize("grant_types", [("implicit",), ("password", "implicit")], ids=" ".join)
def test_the_implicit_grant_can_t_have_it(registrar: Registrar, grant_types: tuple[str, ...]) -> None:
    refused = registrar.send("POST", metadata(*grant_types, **BOUND))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert "implicit" in refused.json()["error_description"]
    assert not get_application_model().objects.exists()

    registrar.send("POST", metadata("password", **BOUND))
    assert registrar.send("PUT", metadata(*grant_types)).status_code == 400
    assert registrar.send("GET").json()["grant_types"] == ["password"]


def test_only_the_registration_access_token_asks_for_it(registrar: Registrar) -> None:
    registrar.send("POST", metadata("client_credentials"))
    thief = Registrar(registrar.http, registrar.uri, "guessed")

    for sent in (BOUND, {"dpop_bound_access_tokens": "nonsense"}):
        assert thief.send("PUT", metadata("client_credentials", **sent)).status_code == 401

    assert policies() == []


# Limits

LIMITS = {"access_token_lifetime": 600, "login_lifetime": 86_400}


@pytest.fixture
def limits(settings: Any) -> dict[str, int]:
    settings.OAUTH_BINDING = {"REGISTRATION_LIMITS": LIMITS}
    return LIMITS


def held() -> tuple[int | None, int | None, int | None]:
    policy = TokenPolicy.objects.get()
    return policy.access_token_lifetime, policy.login_lifetime, policy.refresh_token_lifetime


def test_a_client_gets_what_the_site_allows(registrar: Registrar, limits: dict[str, int]) -> None:
    answer = registrar.send("POST", metadata("client_credentials")).json()

    assert {name: answer[name] for name in limits} == limits
    assert held() == (600, 86_400, None)


def test_it_may_ask_for_less_and_gets_no_more(registrar: Registrar, limits: dict[str, int]) -> None:
    asked = {"access_token_lifetime": 60, "login_lifetime": 100_000, "refresh_token_lifetime": 9}
    answer = registrar.send("POST", metadata("client_credentials", **asked)).json()

    assert (answer["access_token_lifetime"], answer["login_lifetime"]) == (60, 86_400)
    assert "refresh_token_lifetime" not in answer
    assert held() == (60, 86_400, None)


def test_an_update_widens_nothing(registrar: Registrar, limits: dict[str, int]) -> None:
    registrar.send("POST", metadata("client_credentials"))
    TokenPolicy.objects.update(access_token_lifetime=120)  # an operator

    answer = registrar.send("PUT", metadata("client_credentials", access_token_lifetime=500)).json()
    assert answer["access_token_lifetime"] == 120
    registrar.send("PUT", metadata("client_credentials", access_token_lifetime=60))
    assert held() == (60, 86_400, None)


@pytest.mark.parametrize("value", [0, -1, 1.5, "60", True, None, 2**31, [60]], ids=repr)
def test_a_limit_is_a_whole_number(registrar: Registrar, limits: dict[str, int], value: Any) -> None:
    refused = registrar.send("POST", metadata("client_credentials", login_lifetime=value))

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert "login_lifetime" in refused.json()["error_description"]
    assert not get_application_model().objects.exists()


def test_what_contradicts_itself_is_refused(registrar: Registrar, limits: dict[str, int]) -> None:
    refused = registrar.send("POST", metadata("client_credentials", login_lifetime=60))

    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")
    assert not get_application_model().objects.exists()


def test_without_limits_the_members_mean_nothing(registrar: Registrar) -> None:
    answer = registrar.send("POST", metadata("client_credentials", access_token_lifetime="long"))

    assert answer.status_code == 201
    assert not TokenPolicy.objects.exists()


def test_a_client_with_a_metadata_document_is_limited_too(db: None, limits: dict[str, int]) -> None:
    model = get_application_model()
    model.objects.create(
        client_id="https://client.example/metadata", registration_source=model.RegistrationSource.CIMD
    )
    assert held() == (600, 86_400, None)


def test_one_that_an_operator_adds_is_not(db: None, limits: dict[str, int]) -> None:
    get_application_model().objects.create(client_id="added")
    assert not TokenPolicy.objects.exists()
