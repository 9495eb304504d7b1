"""A site that has ``AdminSite``s of its own, and no other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import include, path
from oauth2_provider.models import AccessToken, Application, Grant, IDToken, RefreshToken

from oauth_binding import console
from oauth_binding.console.token_policies import TokenPolicyInline
from oauth_binding.console.users import add_to_admin_of_users
from oauth_binding.models import LoginSession, LogoutNotification, TokenBinding, TokenExchangeRule
from tests.helpers.client import Site
from tests.helpers.end_all import end_all


class OpsSite(admin.AdminSite):
    site_header = "Operations"


class OpsUserAdmin(UserAdmin):  # type: ignore[type-arg]
    actions = (console.sign_out_users,)
    inlines = (console.LiveBindingsInline,)


CLASSES: dict[Any, Any] = {
    User: OpsUserAdmin,
    Application: console.BindingApplicationAdmin,
    AccessToken: console.BoundAccessTokenAdmin,
    RefreshToken: console.BoundRefreshTokenAdmin,
    Grant: console.ReadOnlyGrantAdmin,
    IDToken: console.ReadOnlyIDTokenAdmin,
    TokenBinding: console.TokenBindingAdmin,
    LoginSession: console.LoginSessionAdmin,
    LogoutNotification: console.LogoutNotificationAdmin,
    TokenExchangeRule: console.TokenExchangeRuleAdmin,
}

ops = OpsSite(name="ops")
for _model, _class in CLASSES.items():
    ops.register(_model, _class)

#: One without pages of users and applications.
bare = admin.AdminSite(name="bare")
bare.register(TokenBinding, console.TokenBindingAdmin)

urlpatterns = [
    path("ops/", ops.urls),
    path("bare/", bare.urls),
    path("oauth2/", include("oauth_binding.urls")),
]

pytestmark = pytest.mark.usefixtures("only_ops")


@pytest.fixture
def only_ops() -> Any:
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    site = make_bound()
    site.bound("phone")
    return site


def links(page: Any) -> set[str]:
    """Return where the links of a page lead to, which is a page of the same admin site."""
    assert page.status_code == 200
    content = page.content.decode()
    assert "Operations" in content
    found = set(re.findall(r'<(?:a|form)\b[^>]* (?:href|action)="(/[^"]*)"', content))
    # "View on site" leads to the page of an application.
    own = ("/ops/", "/static/", "/oauth2/applications/")
    elsewhere = {link for link in found if not link.startswith(own) and link != "/"}
    assert elsewhere == set()
    return found


@pytest.mark.parametrize("model", CLASSES, ids=lambda model: str(model.__name__))
def test_each_list(operator: Client, site: Site, model: Any) -> None:
    links(operator.get(f"/ops/{model._meta.app_label}/{model._meta.model_name}/"))


def test_a_binding_is_looked_at_and_revoked(operator: Client, site: Site, user: User) -> None:
    binding = TokenBinding.objects.get()
    page = f"/ops/oauth_binding/tokenbinding/{binding.pk}"

    assert f"{page}/change/" in links(operator.get("/ops/oauth_binding/tokenbinding/"))
    assert f"{page}/revoke/" in links(operator.get(f"{page}/change/"))
    links(operator.get(f"{page}/revoke/"))
    links(operator.post(f"{page}/value/"))
    done = operator.post(f"{page}/revoke/", follow=True)

    links(done)
    assert done.redirect_chain == [("/ops/oauth_binding/tokenbinding/", 302)]
    for history in (f"{page}/history/", f"/ops/auth/user/{user.pk}/history/"):
        assert "Revoked: " in operator.get(history).content.decode()


def test_a_user_and_an_application(operator: Client, site: Site, user: User) -> None:
    for page in (f"auth/user/{user.pk}", f"oauth2_provider/application/{site.application.pk}"):
        listed = [
            link
            for link in links(operator.get(f"/ops/{page}/change/"))
            if link.startswith("/ops/oauth_binding/tokenbinding/?")
        ]
        assert len(listed) == 1


def test_a_whole_id_is_found_and_the_list_downloaded(operator: Client, site: Site) -> None:
    found = operator.post("/ops/oauth_binding/tokenbinding/find/", {"value": "phone"}, follow=True)

    links(found)
    assert found.context["cl"].result_count == 1
    assert operator.get("/ops/oauth_binding/tokenbinding/csv/").getvalue().count(b"\r\n") == 2


@pytest.mark.parametrize("model", ["user", "application"])
def test_all_of_what_it_has_no_page_of_is_ended(operator: Client, site: Site, model: str) -> None:
    phone, bindings = site.bound("phone"), "/bare/oauth_binding/tokenbinding/"
    pk = {"user": site.user and site.user.pk, "application": site.application.pk}[model]
    page = operator.get(f"{bindings}end-all/{model}/{pk}/")
    assert f'href="{bindings}"' in page.content.decode()

    end_all(operator, f"{bindings}end-all/{model}/{pk}/")

    assert not site.active(phone.access)


@pytest.mark.parametrize("address", ["user/0/", "user/x/", "application/0/"])
def test_all_of_nothing_is_not_found(operator: Client, site: Site, address: str) -> None:
    assert operator.get(f"/bare/oauth_binding/tokenbinding/end-all/{address}").status_code == 404


def test_a_site_whose_own_admin_has_no_users(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: dict[Any, Any] = admin.site._registry
    monkeypatch.delitem(registered, User)

    add_to_admin_of_users()

    assert not admin.site.is_registered(User)


@pytest.mark.parametrize("inline", [TokenPolicyInline, console.LiveBindingsInline])
def test_a_section_that_the_site_has_placed_itself_comes_once(
    operator: Client, site: Site, monkeypatch: pytest.MonkeyPatch, inline: Any
) -> None:
    monkeypatch.setattr(ops.get_model_admin(Application), "inlines", (inline,))

    page = operator.get(f"/ops/oauth2_provider/application/{site.application.pk}/change/")

    placed = [type(each.opts) for each in page.context["inline_admin_formsets"]]
    assert sorted(each.__name__ for each in placed) == ["LiveBindingsInline", "TokenPolicyInline"]
