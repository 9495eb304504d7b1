"""What holds for a site with models of its own; test_swapped_models.py runs this in such a site."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models
from django.test import Client
from django.urls import reverse
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation import end_all as end_all_steps
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.console import end_all as end_all_pages
from oauth_binding.core.toolkit_paths import IS_BY_ROLE
from oauth_binding.devices import devices_of, sign_out_everywhere
from oauth_binding.models import TokenBinding, TokenExchangeRule
from oauth_binding.storage import chunks, prepared_sql
from tests.helpers.client import PASSWORD, Site, public_key
from tests.helpers.end_all import PAGES, send, state, text
from tests.helpers.exchange import ACCESS_TOKEN, ID_TOKEN, REFRESH_TOKEN, allow, exchange
from tests.helpers.feed import read_feed
from tests.helpers.provider import provider


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("alice", password=PASSWORD)


def indexes(model: type[models.Model]) -> set[tuple[str, ...]]:
    """Return the indexes of a table, each as its kind and its columns."""
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, model._meta.db_table).values()
    return {(kind, *one["columns"]) for one in found for kind in ("unique", "index") if one[kind]}


@pytest.mark.django_db
def test_nothing_is_left_to_migrate() -> None:
    call_command("makemigrations", check=True, dry_run=True)  # in any app


@pytest.mark.django_db
def test_the_tables_have_the_indexes_of_both_apps() -> None:
    assert indexes(get_access_token_model()) >= {
        ("index", "binding_id"),
        ("index", "exchange_id"),
        ("unique", "slot"),
    }
    assert indexes(get_refresh_token_model()) >= {
        ("index", "binding_id"),
        ("index", "exchange_id"),
        ("index", "token_family"),
        # Since it is laid out by role, the toolkit has the checksum once only.
        ("unique", "token_checksum") if IS_BY_ROLE else ("unique", "token_checksum", "revoked"),
    }


def test_an_opaque_token_per_device(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")
    phone, tablet = site.bound("phone"), site.bound("tablet")

    again = site.bound("phone")

    assert (again.access, again.refresh) == (phone.access, phone.refresh)
    assert phone.access != tablet.access
    assert site.api(phone.access) == site.api(tablet.access) == 200


def test_a_jwt_per_device(make_bound: Callable[..., Site], user: Any) -> None:
    site = make_bound("jwt")
    phone, tablet = site.bound("phone"), site.bound("tablet")

    again = site.bound("phone")

    assert again.claims["sub"] == str(user.pk)
    assert [site.active(answer.access) for answer in (phone, tablet, again)] == [False, True, True]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_refreshing_keeps_the_binding(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    first = site.bound("phone")
    before = site.introspect(first.access)

    refreshed = site.refresh(first.refresh)

    after = site.introspect(refreshed.access)
    assert after["binding_type"] == "client-request"
    assert after["binding_ref"] == before["binding_ref"]
    assert not site.active(first.access)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_revoking_one_device(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    phone, tablet = site.bound("phone"), site.bound("tablet")

    assert site.revoke(phone.refresh).status == 200

    assert not site.active(phone.access)
    assert site.active(tablet.access)
    assert site.refresh(phone.refresh).status == 400


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_token_exchange(
    make_bound: Callable[..., Site],
    make_site: Callable[..., Site],
    user: Any,
    token_type: str,
    binding_type: str,
) -> None:
    mobile = make_bound("jwt")
    backend = make_site(
        "client_credentials",
        as_user=None,
        token_type=token_type,
        token_binding_type=binding_type,
        additional_grant_types="token-exchange",
    )
    allow(backend, mobile, impersonation=False, delegation=True, refresh_tokens=True)
    subject = mobile.bound("phone")

    actor = {"actor_token": backend.token().access, "actor_token_type": ACCESS_TOKEN}
    answer = exchange(backend, subject.access, **actor)

    found = backend.introspect(answer.access)
    assert found["sub"] == str(user.pk)
    assert found["act"]["client_id"] == backend.application.client_id
    refreshed = backend.refresh(answer.refresh)
    assert backend.introspect(refreshed.access)["act"] == found["act"]
    mobile.revoke(subject.access)
    assert not backend.active(refreshed.access)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("binding", ["phone", None])
def test_a_replayed_refresh(make_bound: Callable[..., Site], token_type: str, binding: str | None) -> None:
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        site = make_bound(token_type)
        first = site.bound(binding)
        refreshed, again = site.refresh(first.refresh), site.refresh(first.refresh)

    assert again.status == 200, again.data
    assert again.refresh == refreshed.refresh
    assert [site.active(answer.access) for answer in (first, again)] == [False, True]


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize("binding_type", ["none", "client-request"])
@pytest.mark.parametrize("grant", ["authorization_code", "urn:ietf:params:oauth:grant-type:device_code"])
def test_a_code(make_site: Callable[..., Site], grant: str, token_type: str, binding_type: str) -> None:
    site = make_site(grant, token_type=token_type, token_binding_type=binding_type)
    form = site.grant(scope="openid read", tokenBindingId="phone")
    pair = site.post("/oauth2/token/", form)
    assert site.active(pair.access)
    if grant == "authorization_code":
        assert pair["id_token"]
        # A replay ends what it was redeemed for.
        assert site.post("/oauth2/token/", form)["error"] == "invalid_grant"
        assert not site.active(pair.access)


@pytest.mark.parametrize("binding_type", ["none", "client-request"])
def test_the_revocation_feed(make_site: Callable[..., Site], user: Any, binding_type: str) -> None:
    site = make_site(token_type="jwt", token_binding_type=binding_type)
    revoked, suspended = site.token(), site.token(tokenBindingId="tablet")
    site.revoke(revoked.access)
    type(user).objects.update(is_active=False)

    def feed(query: str = "") -> Any:
        return jwt.decode(
            site.http.get(f"/oauth2/revoked-tokens/{query}").content,
            public_key(),
            algorithms=["RS256"],
        )

    named, inactive = read_feed(feed)
    assert revoked.claims["jti"] in named
    assert suspended.claims["jti"] in inactive


@pytest.mark.parametrize("token_type", [ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN])
def test_what_is_exchanged_ends_with_it(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], token_type: str
) -> None:
    site = make_bound("opaque", "authorization_code", additional_grant_types="token-exchange")
    allow(site, site, refresh_tokens=True)
    login = site.bound("phone", scope="openid read")
    name = {ACCESS_TOKEN: "access_token", REFRESH_TOKEN: "refresh_token", ID_TOKEN: "id_token"}[token_type]
    presented = {"subject_token_type": token_type, "tokenBindingId": "exchanged"}

    exchanged = exchange(site, login[name], **presented)
    again = exchange(site, login[name], **presented)

    assert exchanged.status == 200, exchanged.data
    assert exchanged.access == again.access
    site.revoke(login.refresh)
    assert not site.active(exchanged.access)


def test_many_tokens_of_a_user_end(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: Any
) -> None:
    bound, unbound = make_bound("opaque"), make_site()
    with assert_in_chunks():
        answers = [bound.bound(f"device {number}") for number in range(5)] + [
            unbound.token() for _ in range(5)
        ]
        assert sign_out_everywhere(user) == 6
    assert not any(bound.active(answer.access) for answer in answers[:5])
    assert not any(unbound.active(answer.access) for answer in answers[5:])
    assert bound.refresh(answers[0].refresh).status == 400


@contextmanager
def assert_in_chunks() -> Iterator[None]:
    """Have primary keys named two at a time."""
    size, chunks.CHUNK_SIZE = chunks.CHUNK_SIZE, 2  # type: ignore[misc]
    try:
        yield
    finally:
        chunks.CHUNK_SIZE = size  # type: ignore[misc]


@pytest.mark.parametrize("event", ["password", "deactivation", "deletion"])
def test_what_is_saved_ends_tokens(make_bound: Callable[..., Site], user: Any, event: str) -> None:
    site = make_bound("jwt")
    phone = site.bound("phone")
    if event == "password":
        user.set_password("another correct horse")
        user.save()
    elif event == "deactivation":
        user.is_active = False
        user.save()
    else:
        user.delete()

    assert not site.active(phone.access)
    assert site.api(phone.access) == 401
    assert site.refresh(phone.refresh).status == 400


def test_clearing(make_bound: Callable[..., Site], user: Any) -> None:
    site = make_bound("opaque")
    phone = site.bound("phone")
    type(user).objects.update(is_active=False)
    call_command("cleartokens")
    call_command("clearbindings", unused_for=1, verbosity=0)

    type(user).objects.update(is_active=True)
    assert not site.active(phone.access)


def test_the_console(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque", name="Mail")
    phone, tablet = site.bound("phone", scope="read"), site.bound("tablet")
    console = Client()
    console.force_login(get_user_model().objects.create_superuser("admin", password=PASSWORD))
    backend = site.application
    for model in (
        get_access_token_model(),
        get_refresh_token_model(),
        TokenBinding,
        TokenExchangeRule,
        type(backend),
    ):
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        changelist = reverse(f"admin:{name}_changelist")
        assert console.get(changelist, {"q": "Mail"}).status_code == 200
        for row in model.objects.all():
            assert console.get(reverse(f"admin:{name}_change", args=[quote(row.pk)])).status_code == 200
    assert console.get(reverse("admin:oauth_binding_tokenexchangerule_add")).status_code == 200

    model = get_access_token_model()
    changelist = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    binding = TokenBinding.objects.get(binding_value="phone")
    form = {
        "action": "revoke_tokens",
        ACTION_CHECKBOX_NAME: [str(model.objects.get(binding=binding).pk)],
        "confirmed": "1",
    }
    assert console.post(changelist, form).status_code == 302
    assert (site.active(phone.access), site.active(tablet.access)) == (False, True)
    binding = TokenBinding.objects.get(binding_value="tablet")
    page = reverse("admin:oauth_binding_tokenbinding_revoke", args=[binding.pk])
    assert console.post(page).status_code == 302
    assert not site.active(tablet.access)


@pytest.mark.parametrize("kind", ["user", "application"])
@pytest.mark.parametrize("binding_type", ["none", "client-request"])
def test_ending_all_in_the_console(
    make_site: Callable[..., Site], user: Any, monkeypatch: pytest.MonkeyPatch, kind: str, binding_type: str
) -> None:
    monkeypatch.setattr(end_all_steps, "STEP", 1)
    monkeypatch.setattr(end_all_pages, "REQUEST_SECONDS", 0)
    site = make_site("authorization_code", token_binding_type=binding_type, as_user=user)
    answers = [site.bound(f"device {number}") for number in range(3)]
    code = site.authorization_code()
    console = Client()
    console.force_login(get_user_model().objects.create_superuser("admin", password=PASSWORD))
    url = f"{PAGES}{kind}/{quote((user if kind == 'user' else site.application).pk)}/"

    page = send(console, url, console.get(url))
    while not re.search(r"\b[1-9] of ", text(page)):
        page = send(console, url, page)
    after = site.bound("new")
    while state(page) is not None:
        page = send(console, url, page)

    assert not any(site.active(answer.access) or site.active(answer.refresh) for answer in answers)
    assert site.post("/oauth2/token/", code)["error"] == "invalid_grant"
    assert site.active(after.access)
    assert site.active(after.refresh)


def test_prepared_statements_do_what_queries_do(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")
    site.bound("phone")
    for model, fields in (
        (get_access_token_model(), ("pk", "token_checksum", "slot")),
        (get_refresh_token_model(), ("pk", "access_token")),
        (type(site.application), ("pk", "client_id")),
        (get_user_model(), ("pk", "username")),
    ):
        row = model.objects.get()
        for field in fields:
            value = row.pk if field == "pk" else row.serializable_value(field)
            assert prepared_sql.find("default", model, field, value) == row
            assert prepared_sql.fetch("default", model, field, value, ("pk",), lock="share") == [row.pk]


def test_the_checks_find_nothing() -> None:
    call_command("check", fail_level="WARNING")


def test_the_page_of_devices(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], user: Any
) -> None:
    bound, unbound = make_bound(name="Mail"), make_site(name="News")
    phone, tablet, other = bound.bound("phone"), bound.bound("tablet"), unbound.token()
    browser = Client()
    browser.force_login(user)

    page = browser.get("/oauth2/devices/").content.decode()
    assert re.findall(r"<h3><bdi[^>]*>(.*?)</bdi>", page) == [
        "News on unknown devices",
        "Unnamed device",
        "Unnamed device",
    ]
    references = [binding_reference(name)[:12] for name in ("tablet", "phone")]
    assert re.findall(r"<code[^>]*>(.*?)</code>", page) == references
    for device in devices_of(user):
        if device.reference != references[0]:
            assert browser.post(f"/oauth2/devices/{device.id}/sign-out/").status_code == 302

    assert not bound.active(phone.access)
    assert not unbound.active(other.access)
    assert bound.active(tablet.access)
