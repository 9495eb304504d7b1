"""Demands at the token endpoint that are only reported, and turning them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import get_access_token_model

from oauth_binding.authorization_server.issuing import presented_proof, save
from oauth_binding.binding import TokenBinder
from oauth_binding.models import TokenBinding
from tests.helpers.client import GRANTS, REDIRECT_URI, Answer, Site, set_policy
from tests.helpers.reports import noted, reports
from tests.helpers.rows import access_token_row

#: What counts as no id.
ABSENT = [None, "", "  "]


class Insistent(TokenBinder):
    """A binding type that takes no request without a binding, whatever an application demands."""

    type = "insistent"
    label = "Insistent"
    parameter = "device"
    required = True

    def get_binding_value(self, request: Any) -> str | None:
        return dict(request.decoded_body).get(self.parameter, "").strip() or None


def demands(heard: list[dict[str, Any]]) -> list[str]:
    return [each["demand"] for each in heard]


def ask_for_token(site: Site, response_type: str) -> str:
    """Ask the authorization endpoint for what needs no consent, and return where that sends the browser."""
    browser = Client()
    browser.force_login(site.user)  # type: ignore[arg-type]
    query = {
        "response_type": response_type,
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid read",
        "nonce": "n",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    return str(browser.get("/oauth2/authorize/", query)["Location"])


class TestReport:
    @pytest.mark.parametrize("absent", ABSENT)
    @pytest.mark.parametrize("grant_type", GRANTS)
    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_who_sends_no_id_is_answered_and_reported(
        self,
        make_bound: Callable[..., Site],
        caplog: Any,
        token_type: str,
        grant_type: str,
        absent: str | None,
    ) -> None:
        site = make_bound(token_type, grant_type, require_binding="report")

        with reports() as heard, caplog.at_level("INFO", logger="oauth_binding"):
            assert site.bound("phone").status == 200
            answer = site.bound(absent)

        shared = access_token_row(answer.access).binding
        assert shared.is_shared
        (told,) = heard
        user = None if grant_type == "client_credentials" else site.user
        assert (told["demand"], told["application"], told["user"]) == (
            "require_binding",
            site.application,
            user,
        )
        assert told["binding"] == shared
        assert noted("require_binding") == [""]
        assert (
            f"client {site.application.client_id} would have been refused by require_binding" in caplog.text
        )
        assert "phone" not in caplog.text

    def test_what_is_answered_again_is_reported_again(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound(require_binding="report")
        first = site.bound(None)

        with reports() as heard:
            assert site.bound(None).access == first.access

        assert [each["binding"] for each in heard] == [TokenBinding.objects.get()]

    def test_a_refresh_is_not_asked_for_an_id(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound(require_binding="report")
        first = site.bound(None)

        with reports() as heard:
            assert site.refresh(first.refresh).status == 200

        assert heard == []

    def test_what_is_refused_is_not_reported(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound(require_binding="report")

        with reports() as heard:
            assert site.bound(None, password="wrong").status == 400
            assert site.bound(None, scope="nope").status == 400

        assert heard == []

    def test_all_that_is_missed_is_reported(self, make_bound: Callable[..., Site]) -> None:
        constraint = {"sender_constraint": "dpop", "require_sender_constraint": "report"}
        site = make_bound(require_binding="report", **constraint)

        with reports() as heard:
            assert site.bound(None).status == 200

        assert demands(heard) == ["require_binding", "require_sender_constraint"]
        assert noted("require_binding") == noted("require_sender_constraint") == [""]

    @pytest.mark.parametrize(
        ("fields", "reported"),
        [
            ({}, []),
            ({"require_binding": "report"}, ["require_binding"]),
            ({"require_presented_binding": "report"}, ["require_presented_binding"]),
            (
                {"sender_constraint": "dpop", "require_sender_constraint": "report"},
                ["require_sender_constraint"],
            ),
            ({"require_binding": "report", "require_presented_binding": "yes"}, None),
        ],
    )
    @pytest.mark.parametrize(
        ("grant_type", "response_type"), [("implicit", "token"), ("openid-hybrid", "code token")]
    )
    def test_tokens_of_the_authorization_endpoint(
        self,
        make_bound: Callable[..., Site],
        grant_type: str,
        response_type: str,
        fields: dict[str, str],
        reported: list[str] | None,
    ) -> None:
        """There is nothing to demand there, so a demand refuses them; a report says that it would."""
        site = make_bound(grant_type=grant_type, skip_authorization=True, **fields)

        with reports() as heard:
            location = ask_for_token(site, response_type)

        sent = parse_qs(urlsplit(location).fragment or urlsplit(location).query)
        assert ("access_token" in sent) is (reported is not None)
        assert sent.get("error") == (["unauthorized_client"] if reported is None else None)
        assert demands(heard) == (reported or [])

    def test_codes_of_the_authorization_endpoint_are_not_reported(
        self, make_bound: Callable[..., Site]
    ) -> None:
        site = make_bound(grant_type="authorization_code", require_binding="report")

        with reports() as heard:
            site.authorization_code()

        assert heard == []


class TestNothingWeakensYes:
    def test_a_binding_type_that_demands_one(self, make_site: Callable[..., Site], settings: Any) -> None:
        settings.OAUTH_BINDING = {"BINDERS": [f"{__name__}.Insistent"]}
        site = make_site(token_binding_type="insistent", require_binding="report")

        with reports() as heard:
            assert site.token(device=" ").status == site.token().status == 400

        assert heard == []
        assert site.token(device="phone").status == 200

    @pytest.mark.parametrize("other", ["require_presented_binding", "require_sender_constraint"])
    def test_a_report_of_another_demand(self, make_bound: Callable[..., Site], other: str) -> None:
        site = make_bound(sender_constraint="dpop", **{"require_binding": "yes", other: "report"})

        with reports() as heard:
            answer = site.bound(None)

        assert answer["error_description"] == "tokenBindingId is required by this client."
        assert heard == []


class TestTurningItOn:
    @pytest.mark.parametrize("grant_type", GRANTS)
    def test_it_consumes_nothing(self, make_bound: Callable[..., Site], grant_type: str) -> None:
        """Codes that were issued before can be redeemed, by who says for which device."""
        site = make_bound(grant_type=grant_type, require_binding="report")
        form = site.grant()
        set_policy(site.application, require_binding="yes")

        refused = site.post("/oauth2/token/", form)

        assert (refused.status, refused["error"]) == (400, "invalid_request")
        assert site.post("/oauth2/token/", [*form, ("tokenBindingId", "phone")]).status == 200

    def test_who_has_a_token_is_not_logged_out(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound(require_binding="report")
        first = site.bound(None)

        set_policy(site.application, require_binding="yes")

        assert site.api(first.access) == 200
        assert site.api(site.refresh(first.refresh).access) == 200
        assert site.bound(None).status == 400

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    def test_a_request_on_its_way_goes_by_one_policy(
        self, make_bound: Callable[..., Site], token_type: str
    ) -> None:
        """It is answered as it was begun, with all that belongs to a token, and the next one is refused."""
        site = make_bound(token_type, require_binding="report")
        record_proof = presented_proof.record_proof

        def turn_on(request: Any) -> None:
            set_policy(site.application, require_binding="yes")
            record_proof(request)

        with reports() as heard, mock.patch.object(save, "record_proof", turn_on):
            answer = site.bound(None)

        assert answer.status == 200
        assert site.active(answer.access)
        assert demands(heard) == ["require_binding"]
        assert site.bound(None).status == 400
        assert get_access_token_model().objects.count() == 1


class TestPublicClient:
    """Nothing of a public client is a secret, so it counts all the more what tells its devices apart."""

    @pytest.fixture
    def make_public(self, make_bound: Callable[..., Site]) -> Callable[[str], Site]:
        def make(demand: str) -> Site:
            demanded = {"require_binding": demand, "require_presented_binding": demand}
            return make_bound(client_type="public", client_secret="", **demanded)

        return make

    def token(self, site: Site, binding: str | None) -> Answer:
        form = site.grant(client_id=site.application.client_id)
        named = [] if binding is None else [("tokenBindingId", binding)]
        return site.post("/oauth2/token/", form + named, authenticate=False)

    @pytest.mark.parametrize("absent", ABSENT)
    def test_with_an_empty_id_it_gets_nothing(self, make_public: Callable[[str], Site], absent: str) -> None:
        answer = self.token(make_public("yes"), absent)

        assert (answer.status, answer["error"]) == (400, "invalid_request")
        assert not TokenBinding.objects.exists()

    @pytest.mark.parametrize("absent", ABSENT)
    def test_an_empty_id_names_no_device_at_apis(
        self, make_public: Callable[[str], Site], absent: str | None
    ) -> None:
        """A token of the shared slot, from when that was to be had, is not opened by an empty header."""
        site = make_public("report")
        token = self.token(site, absent).access
        headers = {"Authorization": f"Bearer {token}", "Token-Binding-Id": absent or ""}

        with reports() as heard:
            assert site.http.get("/api/me/", headers=headers).status_code == 200
        assert demands(heard) == ["require_presented_binding"]

        set_policy(site.application, require_presented_binding="yes")
        assert site.http.get("/api/me/", headers=headers).status_code == 401

    def test_users_share_no_slot(self, make_public: Callable[[str], Site]) -> None:
        alice = make_public("report")
        bob = Site(
            alice.application, User.objects.create_user("bob", password="correct horse battery staple")
        )

        assert self.token(alice, "").access != self.token(bob, "").access
