"""PKCE where the site leaves it to the clients (RFC 7636, RFC 9700 section 4.8.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oauth2_provider.models import get_grant_model

from tests.helpers.client import Site
from tests.helpers.provider import provider

BINDINGS = ("none", "client-request")


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_code_of_a_request_without_a_challenge_takes_no_verifier(
    make_site: Callable[..., Site], binding: str
) -> None:
    """Somebody may have taken the challenge out of the authorization request of a client that sends one."""
    site = make_site("authorization_code", token_binding_type=binding)
    with provider(PKCE_REQUIRED=False):
        form: dict[str, Any] = site.authorization_code(code_challenge="", code_challenge_method="")

        answer = site.post("/oauth2/token/", form)

        assert (answer.status, answer["error"]) == (400, "invalid_grant")
        assert "code_verifier" in answer["error_description"]
        assert get_grant_model().objects.count() == 1
        del form["code_verifier"]
        assert site.post("/oauth2/token/", form).status == 200


@pytest.mark.parametrize("method", ["S256", "plain"])
@pytest.mark.parametrize("verifier", [None, "", "w" * 64])
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_code_of_a_request_with_a_challenge_takes_its_verifier(
    make_site: Callable[..., Site], binding: str, verifier: str | None, method: str
) -> None:
    site = make_site("authorization_code", token_binding_type=binding)
    with provider(PKCE_REQUIRED=False):
        extra = {} if method == "S256" else {"code_challenge": "v" * 64, "code_challenge_method": "plain"}
        form = site.authorization_code(**extra)
        right = form.pop("code_verifier") if method == "S256" else "v" * 64

        refused = site.post(
            "/oauth2/token/", form if verifier is None else {**form, "code_verifier": verifier}
        )

        assert refused.status == 400
        assert refused["error"] in {"invalid_grant", "invalid_request"}
        assert site.post("/oauth2/token/", {**form, "code_verifier": right}).status == 200
