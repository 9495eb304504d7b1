"""Deleting a user or an application with all that it holds: few statements, and all that deletion means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import PROTECT
from django.db.models.signals import post_delete
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import AccessToken, IDToken, RefreshToken

from oauth_binding.models import LogoutNotification, RevokedToken, TokenBinding, TokenExchange
from tests.helpers.client import PASSWORD, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.rows import access_token_row, make_devices
from tests.helpers.staff import staff

each_holder = pytest.mark.parametrize("kind", ["user", "application"])


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound("jwt")


@pytest.fixture
def others(make_bound: Callable[..., Site]) -> tuple[Site, Any]:
    """Return another application with a login of another user."""
    bob = User.objects.create_user("bob", password=PASSWORD)
    others = make_bound("jwt", as_user=bob)
    return others, others.bound("tablet")


def holder(kind: str, site: Site) -> Any:
    return site.user if kind == "user" else site.application


@each_holder
def test_what_it_holds_is_gone_and_said_to_be(site: Site, others: tuple[Site, Any], kind: str) -> None:
    jtis = {access_token_row(site.bound(name).access).jti for name in ("phone", "laptop", "tablet")}
    other, kept = others

    total, counts = holder(kind, site).delete()

    assert counts == {
        "oauth_binding.TokenBinding": 4,  # and the gate of new devices
        "oauth2_provider.AccessToken": 3,
        "oauth2_provider.RefreshToken": 3,
        {"user": "auth.User", "application": "oauth2_provider.Application"}[kind]: 1,
        **({"oauth_binding.TokenPolicy": 1} if "oauth_binding.TokenPolicy" in counts else {}),
    }
    assert total == sum(counts.values())
    assert set(RevokedToken.objects.values_list("jti", flat=True)) == jtis
    assert other.active(kept.access)
    assert other.active(kept.refresh)


@each_holder
def test_a_thousand_cost_hardly_more_statements_than_a_few(
    make_bound: Callable[..., Site], kind: str
) -> None:
    numbers = []
    for number in (3, 1000):
        alice = User.objects.create_user(f"alice {number}", password=PASSWORD)
        site = make_bound("jwt", as_user=alice)
        make_devices(alice, site.application, number)
        for at, token in enumerate(AccessToken.objects.filter(user=alice)):
            AccessToken.objects.filter(pk=token.pk).update(jti=f"{number} {at}")
        with CaptureQueriesContext(
            connection,
        ) as queries:
            holder(kind, site).delete()
        numbers.append(len(queries))

    assert not TokenBinding.objects.exists()
    assert not RefreshToken.objects.exists()
    assert RevokedToken.objects.count() == 1003
    # Four parts of 250, with some statements for each table.
    assert numbers[1] < numbers[0] + 100


@each_holder
def test_a_receiver_of_the_site_is_told_of_each_token(site: Site, kind: str) -> None:
    """So it was, and so it stays: such a site has what it pays for."""
    pks = {access_token_row(site.bound(name).access).pk for name in ("phone", "laptop")}
    told = set()

    def hear(sender: Any, instance: Any, **kwargs: Any) -> None:
        told.add(instance.pk)

    post_delete.connect(hear, sender=AccessToken)
    try:
        holder(kind, site).delete()
    finally:
        post_delete.disconnect(hear, sender=AccessToken)

    assert told == pks
    assert RevokedToken.objects.count() == 2


def test_what_was_exchanged_from_its_tokens_goes_with_an_application(
    make_bound: Callable[..., Site], site: Site
) -> None:
    backend = make_bound("jwt", additional_grant_types="token-exchange", name="backend")
    allow(backend, site)
    exchanged = exchange(backend, site.bound("phone").access)
    assert exchanged.status == 200, exchanged.data

    site.application.delete()

    assert not backend.active(exchanged.access)
    assert not TokenExchange.objects.exists()
    assert RevokedToken.objects.count() == 2


def test_applications_are_told_of_the_end_of_a_users_sessions(
    make_site: Callable[..., Site], user: User
) -> None:
    mail = make_site(
        "authorization_code", name="Mail", backchannel_logout_uri="https://mail.example.com/logout"
    )
    login(mail, signed_in(user))
    assert IDToken.objects.exists()

    user.delete()

    assert LogoutNotification.objects.get().application == mail.application
    assert not IDToken.objects.exists()


def test_where_it_is_undone_nothing_has_gone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = site.bound("phone")
    application = site.application

    def refuse(sender: Any, **kwargs: Any) -> None:
        raise RuntimeError("not this one")

    post_delete.connect(refuse, sender=type(application))
    try:
        with pytest.raises(RuntimeError, match="not this one"):
            application.delete()
    finally:
        post_delete.disconnect(refuse, sender=type(application))

    assert site.active(answer.access)
    assert not RevokedToken.objects.exists()


def test_the_owner_deletes_an_application_with_all_of_it(site: Site) -> None:
    assert site.user is not None
    site.application.user = site.user
    site.application.save()
    site.bound("phone")
    browser = Client()
    browser.force_login(site.user)

    deleted = browser.post(f"/oauth2/applications/{site.application.pk}/delete/")

    assert deleted.status_code == 302
    assert not AccessToken.objects.exists()
    assert RevokedToken.objects.count() == 1


# The admin's question


ADDRESSES = {"user": "/admin/auth/user/", "application": "/admin/oauth2_provider/application/"}


@each_holder
def test_the_admin_says_how_much_goes_and_lists_none_of_it(site: Site, kind: str) -> None:
    assert site.user is not None
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    obj = holder(kind, site)
    pages = []
    for number in (2, 40):
        make_devices(site.user, site.application, number)
        with CaptureQueriesContext(connection) as queries:
            page = operator.get(f"{ADDRESSES[kind]}{obj.pk}/delete/")
        pages.append((len(queries), len(page.content)))
    counted = dict(page.context["model_count"])

    assert counted["token bindings"] == counted["access tokens"] == counted["refresh tokens"] == 42
    assert counted[{"user": "users", "application": "applications"}[kind]] == 1
    (few_queries, few_bytes), (many_queries, many_bytes) = pages
    assert few_queries == many_queries
    # The three numbers have one digit more.
    assert few_bytes <= many_bytes < few_bytes + 30
    assert str(obj) in page.content.decode()


@each_holder
def test_the_admin_says_what_keeps_it_from_being_deleted(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a table of the site's own may, by ``PROTECT``."""
    site.bound("phone")
    relation = next(each for each in TokenBinding._meta.related_objects if each.related_model is AccessToken)
    monkeypatch.setattr(relation, "on_delete", PROTECT)
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))

    page = operator.get(f"{ADDRESSES[kind]}{holder(kind, site).pk}/delete/")

    assert len(page.context["protected"]) == 1
    assert "would require deleting the following protected related objects" in page.content.decode()


@each_holder
def test_also_where_that_has_no_page(site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site.bound("phone")
    relation = next(each for each in TokenBinding._meta.related_objects if each.related_model is AccessToken)
    monkeypatch.setattr(relation, "on_delete", PROTECT)
    monkeypatch.delitem(admin.site._registry, AccessToken)
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))

    page = operator.get(f"{ADDRESSES[kind]}{holder(kind, site).pk}/delete/")

    assert [text.partition(":")[0] for text in page.context["protected"]] == ["Access token"]


@each_holder
def test_the_list_deletes_several_in_the_same_way(site: Site, others: tuple[Site, Any], kind: str) -> None:
    operator = Client()
    operator.force_login(User.objects.create_superuser("operator"))
    site.bound("phone")
    pks = [holder(kind, each).pk for each in (site, others[0])]
    sent = {"action": "delete_selected", "_selected_action": pks}

    asked = operator.post(ADDRESSES[kind], sent)
    assert dict(asked.context["model_count"])["token bindings"] == 2
    assert operator.post(ADDRESSES[kind], {**sent, "post": "yes"}).status_code == 302

    assert not TokenBinding.objects.exists()
    assert RevokedToken.objects.count() == 2


@each_holder
def test_a_great_many_are_not_counted(site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oauth_binding.console.deletion.MAX_COUNTED", 1)
    site.bound("phone")
    site.bound("laptop")
    somebody = staff(f"delete_{kind}", f"view_{kind}")

    page = somebody.get(f"{ADDRESSES[kind]}{holder(kind, site).pk}/delete/")

    assert dict(page.context["model_count"])["token bindings"] == "more than 1"
    assert {"token binding", "access token", "refresh token"} <= set(page.context["perms_lacking"])
