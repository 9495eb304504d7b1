"""How many live bindings a user or an application has, on their pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from oauth_binding.console import BindingApplicationAdmin, LiveBindingsInline
from oauth_binding.console.bindings import TokenBindingAdmin
from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site
from tests.helpers.staff import form, staff

PAGES = {
    "user": "/{site}/auth/user/{user}/change/",
    "application": "/{site}/oauth2_provider/application/{application}/change/",
}

each_page = pytest.mark.parametrize("kind", PAGES)


@pytest.fixture
def site(make_bound: Callable[..., Site], user: User) -> Site:
    """Return an application with two live bindings of a user; others have theirs."""
    site = make_bound()
    for name in ("phone", "laptop", "signed out", "expired"):
        site.bound(name)
    AccessToken.objects.filter(binding__binding_value="expired").delete()
    RefreshToken.objects.filter(binding__binding_value="expired").delete()
    TokenBinding.objects.filter(binding_value="signed out").update(may_be_live=False)
    bob = User.objects.create_user("bob", password=PASSWORD)
    make_bound(as_user=bob).bound("tablet")
    return site


def address(kind: str, site: Site, admin_site: str = "admin") -> str:
    assert site.user is not None
    return PAGES[kind].format(site=admin_site, user=site.user.pk, application=site.application.pk)


def link(page: Any) -> tuple[str, str] | None:
    """Return where the line leads to, and what it says."""
    assert page.status_code == 200
    found = re.search(r'<a href="([^"]*/tokenbinding/\?[^"]*live=yes)">([^<]*)</a>', page.content.decode())
    return None if found is None else (unescape(found[1]), found[2])


@each_page
def test_a_page_leads_to_its_live_bindings(operator: Client, site: Site, kind: str) -> None:
    line = link(operator.get(address(kind, site)))

    assert line is not None
    assert line[1] == "2 with live tokens"
    listed = operator.get(line[0]).context["cl"].result_list
    assert {binding.binding_value for binding in listed} == {"phone", "laptop"}


@each_page
def test_there_may_be_none(operator: Client, site: Site, kind: str) -> None:
    AccessToken.objects.all().delete()
    RefreshToken.objects.all().delete()

    line = link(operator.get(address(kind, site)))

    assert line is not None
    assert line[1] == "0 with live tokens"


@each_page
def test_an_expired_access_token_with_a_refresh_token_counts(operator: Client, site: Site, kind: str) -> None:
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))

    line = link(operator.get(address(kind, site)))

    assert line is not None
    assert line[1] == "2 with live tokens"


@each_page
def test_a_great_many_are_not_looked_at(
    operator: Client, site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oauth_binding.console.live_bindings.MAX_LOOKED_AT", 1)

    line = link(operator.get(address(kind, site)))

    assert line is not None
    assert line[1].startswith("At least")


@each_page
@pytest.mark.parametrize(
    ("permissions", "sees"),
    [([], False), (["view_tokenbinding"], True), (["revoke_tokenbinding"], True)],
)
def test_who_may_look_at_bindings_sees_it(site: Site, kind: str, permissions: list[str], sees: bool) -> None:
    page = staff(f"view_{kind}", *permissions).get(address(kind, site))

    assert (link(page) is not None) is sees


@each_page
def test_what_is_being_added_has_none(operator: Client, site: Site, kind: str) -> None:
    page = operator.get(re.sub(r"[0-9]+/change/$", "add/", address(kind, site)))

    assert link(page) is None


def test_a_user_is_saved_with_it_and_without_it(operator: Client, site: Site) -> None:
    """What the page has of it is no part of the form: who posts without it, as before it was there, may."""
    assert site.user is not None
    fields = {"username": "alicia", "date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    count = {"token_bindings-TOTAL_FORMS": "7", "token_bindings-0-name": "mine"}

    assert operator.post(address("user", site), fields).status_code == 302
    assert operator.post(address("user", site), {**fields, **count}).status_code == 302

    site.user.refresh_from_db()
    assert site.user.get_username() == "alicia"
    assert not TokenBinding.objects.exclude(name="").exists()
    wrong = operator.post(address("user", site), {**fields, "username": "not a name!"})
    assert link(wrong) is not None


def test_an_application_is_saved_with_it(operator: Client, site: Site) -> None:
    fields = form(client_id=site.application.client_id, name="renamed", token_type="opaque")

    assert operator.post(address("application", site), fields).status_code == 302

    site.application.refresh_from_db()
    assert site.application.name == "renamed"


# Sites of their own

full, bare = admin.AdminSite("full"), admin.AdminSite("bare")


class OwnUserAdmin(UserAdmin):  # type: ignore[type-arg]
    inlines = (LiveBindingsInline,)


class OwnApplicationAdmin(BindingApplicationAdmin):
    pass


for own in (full, bare):
    own.register(User, OwnUserAdmin)
    own.register(Application, OwnApplicationAdmin)
full.register(TokenBinding, TokenBindingAdmin)

urlpatterns = [
    path("full/", full.urls),
    path("bare/", bare.urls),
    path("admin/", admin.site.urls),
]


@each_page
@override_settings(ROOT_URLCONF=__name__)
def test_an_admin_site_leads_to_its_own_list(operator: Client, site: Site, kind: str) -> None:
    line = link(operator.get(address(kind, site, "full")))

    assert line is not None
    assert line[0].startswith("/full/oauth_binding/tokenbinding/?")
    assert operator.get(line[0]).context["cl"].result_count == 2


@each_page
@override_settings(ROOT_URLCONF=__name__)
def test_an_admin_site_without_the_list_has_no_such_line(operator: Client, site: Site, kind: str) -> None:
    assert link(operator.get(address(kind, site, "bare"))) is None
