"""No client passes for a user: client ids that could be primary keys of users, at every door."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import models
from django.test import Client
from oauth2_provider.models import Application

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.models import could_be_user_key, names_a_user
from tests.helpers.client import Site
from tests.helpers.exchange import ACCESS_TOKEN, allow, exchange
from tests.helpers.provider import provider
from tests.helpers.staff import policy

#: What could be the key of a user: one that there is, one to come, and what a database takes for the same.
LIKE_A_USER = ["1", "4711", "007", "-1", "\u0663", "9" * 40]

UUID = "0c6ac2e8-4ef1-4a3b-8d0f-7f2f0c4e1d11"

FORM: dict[str, Any] = {
    "name": "Application",
    "client_secret": "a secret",
    "client_type": "confidential",
    "authorization_grant_type": "client-credentials",
    "allowed_grant_types": ["client-credentials"],
    "token_type": "jwt",
    "token_binding_type": "none",
}


def by_the_users_page(user: User, client_id: str) -> None:
    browser = Client()
    browser.force_login(user)
    page = browser.post("/oauth2/applications/register/", {**FORM, "client_id": client_id})
    assert page.status_code == 302 or list(page.context["form"].errors) == ["client_id"]


def by_the_users_page_of_changes(user: User, client_id: str) -> None:
    application = Application.objects.create(**_fields(user=user, client_id="before"))
    browser = Client()
    browser.force_login(user)
    page = browser.post(f"/oauth2/applications/{application.pk}/update/", {**FORM, "client_id": client_id})
    assert page.status_code == 302 or list(page.context["form"].errors) == ["client_id"]


def by_the_admin(user: User, client_id: str) -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("operator"))
    form = {**FORM, **policy(), "client_id": client_id}
    page = browser.post("/admin/oauth2_provider/application/add/", form)
    assert page.status_code == 302 or list(page.context["adminform"].form.errors) == ["client_id"]


def by_the_command(user: User, client_id: str) -> None:
    arguments = ("confidential", "client-credentials", f"--client-id={client_id}")
    with suppress(CommandError):
        call_command("createapplication", *arguments, stdout=StringIO())


def by_full_clean(user: User, client_id: str) -> None:
    application = Application(**_fields(client_id=client_id))
    with suppress(ValidationError):
        application.full_clean()
        application.save()


def by_dynamic_registration(user: User, client_id: str) -> None:
    class Generator:
        def hash(self) -> str:
            return client_id

    browser = Client()
    browser.force_login(user)
    permissions = ("oauth2_provider.dcr.AllowAllDCRPermission",)
    with provider(
        DCR_ENABLED=True,
        DCR_REGISTRATION_PERMISSION_CLASSES=permissions,
        CLIENT_ID_GENERATOR_CLASS=Generator,
    ):
        answer = browser.post(
            "/oauth2/register/", {"grant_types": ["client_credentials"]}, content_type="application/json"
        )
    assert answer.status_code == 201 or answer.json()["error"] == "invalid_client_metadata", answer.content


DOORS = [
    by_the_users_page,
    by_the_users_page_of_changes,
    by_the_admin,
    by_the_command,
    by_full_clean,
    by_dynamic_registration,
]


def _fields(**fields: Any) -> dict[str, Any]:
    return {
        "client_type": "confidential",
        "authorization_grant_type": "client-credentials",
        **fields,
    }


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("client_id", LIKE_A_USER)
def test_an_id_that_could_be_a_users_is_refused(
    user: User, door: Callable[[User, str], None], client_id: str
) -> None:
    door(user, client_id)

    assert not Application.objects.filter(client_id=client_id).exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("client_id", ["backend", "client.example", "4711a", UUID])
def test_any_other_id_is_accepted(user: User, door: Callable[[User, str], None], client_id: str) -> None:
    door(user, client_id)

    assert Application.objects.filter(client_id=client_id).exists()


@pytest.mark.parametrize(
    ("key", "like_a_user", "other"),
    [
        (models.BigAutoField(), "4711", "backend"),
        (models.UUIDField(), "{0C6AC2E8-4EF1-4A3B-8D0F-7F2F0C4E1D11}", "4711"),
        (models.UUIDField(), "0c6ac2e84ef14a3b8d0f7f2f0c4e1d11", "urn:uuid:x"),
    ],
)
def test_the_form_is_that_of_the_sites_user_model(
    monkeypatch: pytest.MonkeyPatch, key: Any, like_a_user: str, other: str
) -> None:
    monkeypatch.setattr(User._meta, "pk", key)

    assert could_be_user_key(like_a_user)
    assert not could_be_user_key(other)


def test_where_keys_are_texts_those_of_users_are_refused(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(User._meta, "pk", User._meta.get_field("username"))

    assert not could_be_user_key("alice")
    assert names_a_user("alice")
    assert not names_a_user("4711")


def test_an_application_that_has_such_an_id_can_be_changed_otherwise(user: User) -> None:
    application = Application.objects.create(**_fields(user=user, client_id="4711"))
    browser = Client()
    browser.force_login(user)
    url = f"/oauth2/applications/{application.pk}/update/"

    assert browser.post(url, {**FORM, "client_id": "4711", "name": "Renamed"}).status_code == 302
    assert browser.post(url, {**FORM, "client_id": "4712"}).status_code == 200

    application.refresh_from_db()
    assert (application.client_id, application.name) == ("4711", "Renamed")


def test_what_else_is_wrong_is_said_at_once(db: None) -> None:
    application = Application(
        client_type="confidential", authorization_grant_type="authorization-code", client_id="4711"
    )

    with pytest.raises(ValidationError) as caught:
        application.full_clean()

    assert set(caught.value.message_dict) == {"client_id", "redirect_uris"}


# An application that has such an id


@pytest.fixture
def impostor(make_site: Callable[..., Site], user: User) -> Site:
    """A client whose id is the key of a user, made before such ids were refused."""
    return make_site(
        "client_credentials",
        as_user=None,
        client_id=str(user.pk),
        additional_grant_types="password token-exchange",
    )


def test_introspection_says_no_sub_of_it(impostor: Site) -> None:
    data = impostor.introspect(impostor.token().access).data

    assert data["active"] is True
    assert data["client_id"] == impostor.application.client_id
    assert "sub" not in data


def test_it_gets_no_jwt_for_itself(impostor: Site, caplog: pytest.LogCaptureFixture) -> None:
    impostor.application.token_type = "jwt"
    impostor.application.save()

    answer = impostor.token()

    assert (answer.status, answer["error"]) == (503, "server_error")
    assert f"for client {impostor.application.client_id} itself" in caplog.text


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_the_tokens_that_it_has_of_users_are_what_they_were(
    impostor: Site, token_type: str, user: User
) -> None:
    impostor.application.token_type = token_type
    impostor.application.save()
    bob = User.objects.create_user("bob", password="correct horse")

    form = {"grant_type": "password", "username": "bob", "password": "correct horse"}
    token = impostor.post("/oauth2/token/", form)

    assert impostor.introspect(token.access)["sub"] == str(bob.pk)


def test_it_acts_by_its_client_id_alone(impostor: Site, make_bound: Callable[..., Site]) -> None:
    mobile = make_bound()
    allow(impostor, mobile, delegation=True)

    exchanged = exchange(
        impostor,
        mobile.bound("phone").access,
        actor_token=impostor.token().access,
        actor_token_type=ACCESS_TOKEN,
    )

    assert impostor.introspect(exchanged.access)["act"] == {"client_id": impostor.application.client_id}


def test_it_may_not_act_as_the_user_that_a_token_names(
    impostor: Site, make_bound: Callable[..., Site], user: User
) -> None:
    class Validator(BindingOAuth2Validator):
        def get_additional_access_token_claims(self, request: Any) -> dict[str, Any]:
            return {"may_act": {"sub": str(user.pk)}}

    mobile = make_bound("jwt")
    allow(impostor, mobile)
    with provider(OAUTH2_VALIDATOR_CLASS=Validator):
        login = mobile.bound("phone")

    assert exchange(impostor, login.access)["error"] == "invalid_grant"
