"""The console's pages of tokens and codes: they are looked at and revoked, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, Grant, IDToken, RefreshToken

from oauth_binding.models import TokenPolicy
from tests.helpers.client import REDIRECT_URI, Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.staff import staff

MODELS: dict[str, Any] = {
    "accesstoken": AccessToken,
    "refreshtoken": RefreshToken,
    "grant": Grant,
    "idtoken": IDToken,
}

each_kind = pytest.mark.parametrize("kind", MODELS)
each_token = pytest.mark.parametrize("kind", ["accesstoken", "refreshtoken"])


@pytest.fixture
def login(make_bound: Callable[..., Site]) -> tuple[Site, Any]:
    """Return a client and what it got with a login; there is a code that waits to be redeemed, too."""
    site = make_bound(grant_type="authorization_code")
    answer = site.bound("phone", scope="openid read")
    Grant.objects.create(
        user=site.user,
        application=site.application,
        code="a-code-of-many-letters",
        expires=timezone.now() + timedelta(minutes=1),
        redirect_uri=REDIRECT_URI,
    )
    return site, answer


def url(kind: str, path: str = "") -> str:
    return f"/admin/oauth2_provider/{kind}/{path}"


def action(kind: str, **extra: Any) -> dict[str, Any]:
    pks = list(MODELS[kind].objects.values_list("pk", flat=True))
    return {"action": "revoke_tokens", "_selected_action": pks, **extra}


@each_kind
def test_one_that_is_gone_leads_back(operator: Client, login: tuple[Site, Any], kind: str) -> None:
    answer = operator.get(url(kind, "4711/change/"))

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


@each_kind
def test_no_page_shows_a_secret(operator: Client, login: tuple[Site, Any], kind: str) -> None:
    _site, answer = login
    row = MODELS[kind].objects.get()

    pages = [operator.get(url(kind)), operator.get(url(kind, f"{row.pk}/change/"))]
    if kind in {"accesstoken", "refreshtoken"}:
        pages.append(operator.post(url(kind), action(kind)))

    shown = "".join(page.content.decode() for page in pages)
    assert "alice" in shown
    for secret in (answer.access, answer.refresh, answer["id_token"], "a-code-of-many-letters"):
        assert secret not in shown


@each_kind
@pytest.mark.parametrize("path", ["add/", "{pk}/change/", "{pk}/delete/"])
def test_nothing_can_be_written(operator: Client, login: tuple[Site, Any], kind: str, path: str) -> None:
    other = User.objects.create_user("mallory")
    row = MODELS[kind].objects.get()

    answer = operator.post(url(kind, path.format(pk=row.pk)), {"post": "yes", "user": other.pk, "scope": "x"})

    assert answer.status_code == 403
    assert MODELS[kind].objects.filter(pk=row.pk, user=row.user).exists()


@each_kind
def test_who_may_change_elsewhere_changes_nothing(login: tuple[Site, Any], kind: str) -> None:
    row = MODELS[kind].objects.get()
    changer = staff(*(f"{verb}_{kind}" for verb in ("add", "change", "delete", "view")))

    page = changer.get(url(kind, f"{row.pk}/change/")).content.decode()
    assert 'name="_save"' not in page
    assert 'name="expires' not in page
    assert b"delete_selected" not in changer.get(url(kind)).content
    for path in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
        assert changer.post(url(kind, path), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/admin/auth/user/{user}/", "/admin/oauth2_provider/application/{application}/"]
)
def test_who_holds_tokens_can_be_deleted_with_them(
    operator: Client, login: tuple[Site, Any], path: str
) -> None:
    site, _answer = login
    assert site.user is not None
    address = path.format(user=site.user.pk, application=site.application.pk) + "delete/"

    page = operator.get(address)
    assert page.context["perms_lacking"] == set()
    assert operator.post(address, {"post": "yes"}).status_code == 302

    assert not any(model.objects.exists() for model in MODELS.values())


@each_token
def test_deleting_a_user_with_tokens_asks_for_the_permission(login: tuple[Site, Any], kind: str) -> None:
    site, _answer = login
    assert site.user is not None

    page = staff("delete_user", "view_user").get(f"/admin/auth/user/{site.user.pk}/delete/")

    assert MODELS[kind]._meta.verbose_name in page.context["perms_lacking"]


@each_token
@pytest.mark.parametrize("proves", [True, False])
def test_a_key_that_a_token_is_confirmed_by_is_shown(
    operator: Client, make_bound: Callable[..., Site], kind: str, proves: bool
) -> None:
    site, key = make_bound(), DeviceKey()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    headers = {"DPoP": key.proof("POST", "/oauth2/token/")} if proves else {}
    assert site.post("/oauth2/token/", site.grant(), headers=headers).status == 200
    row = MODELS[kind].objects.get()

    pages = [operator.get(url(kind)), operator.get(url(kind, f"{row.pk}/change/"))]

    assert [f"jkt {key.thumbprint}" in page.content.decode() for page in pages] == [proves] * 2


# What became of them


def statuses(client: Client, kind: str) -> list[str]:
    """Return what the list says of each row, the oldest first, which is what its page says, too."""
    page = client.get(url(kind))
    listed = re.findall(r'<td class="field-status">([^<]*)</td>', page.content.decode())
    pages = [
        client.get(url(kind, f"{row.pk}/change/")).content.decode() for row in page.context["cl"].result_list
    ]
    alone = [
        re.findall(r'field-status">.*?<div class="readonly">([^<]*)</div>', text, re.S) for text in pages
    ]
    assert [[status] for status in listed] == alone
    return listed[::-1]


def test_the_status_of_access_tokens(operator: Client, make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    answers = [site.bound(name) for name in ("live", "expired", "revoked", "replaced")]
    site.refresh(answers[3].refresh)
    site.revoke(answers[2].access)
    row = AccessToken.objects.order_by("pk")[1]
    AccessToken.objects.filter(pk=row.pk).update(expires=timezone.now() - timedelta(seconds=1))

    assert statuses(operator, "accesstoken") == ["live", "expired", "ended", "ended", "live"]


def test_the_status_of_refresh_tokens(
    operator: Client, make_bound: Callable[..., Site], make_site: Callable[..., Site]
) -> None:
    site = make_bound()
    answers = [site.bound(name) for name in ("live", "revoked", "refreshed")]
    site.revoke(answers[1].refresh)
    site.refresh(answers[2].refresh)
    short = make_site(refresh_token_lifetime=60)
    short.token()
    AccessToken.objects.filter(application=short.application).update(
        expires=timezone.now() - timedelta(seconds=61)
    )

    # Expired by the policy of its application alone.
    assert statuses(operator, "refreshtoken") == ["live", "ended", "ended", "live", "expired"]


def test_a_refresh_token_outlives_its_access_token(operator: Client, make_bound: Callable[..., Site]) -> None:
    make_bound().bound("phone")
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))

    assert statuses(operator, "accesstoken") == ["expired"]
    assert statuses(operator, "refreshtoken") == ["live"]


@pytest.mark.parametrize(("seconds", "status"), [(60, "live"), (-1, "expired")])
def test_the_status_of_id_tokens(
    operator: Client, login: tuple[Site, Any], seconds: int, status: str
) -> None:
    IDToken.objects.update(expires=timezone.now() + timedelta(seconds=seconds))

    assert statuses(operator, "idtoken") == [status]


@pytest.mark.parametrize("kind", ["accesstoken", "refreshtoken", "idtoken"])
@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_list_says_what_a_token_is_for(
    operator: Client, make_bound: Callable[..., Site], kind: str, token_type: str
) -> None:
    answer = make_bound(token_type, "authorization_code").bound("phone", scope="openid read")
    row = MODELS[kind].objects.get()
    jti = str(row.jti) if kind == "idtoken" else AccessToken.objects.get().jti
    assert (jti is None) is (token_type == "opaque" and kind != "idtoken")

    for page in (operator.get(url(kind)), operator.get(url(kind, f"{row.pk}/change/"))):
        content = page.content.decode()
        for field, shown in (("scope", answer["scope"]), ("jti", jti or "-")):
            assert f"field-{field}" in content
            assert shown in content
        assert "field-created" in content


# Revoking


@each_token
@pytest.mark.parametrize("permissions", [["view"], ["view", "change", "add", "delete"]], ids=len)
def test_to_revoke_takes_a_permission_of_its_own(
    login: tuple[Site, Any], kind: str, permissions: list[str]
) -> None:
    site, answer = login
    viewer = staff(*(f"{verb}_{kind}" for verb in permissions))

    assert b"revoke_tokens" not in viewer.get(url(kind)).content
    viewer.post(url(kind), action(kind, confirmed="1"))

    assert site.active(answer.access)
    assert not LogEntry.objects.exists()


@each_token
def test_who_may_revoke_needs_no_more(login: tuple[Site, Any], kind: str) -> None:
    site, answer = login
    revoker = staff(f"revoke_{kind}")

    assert url(kind) in revoker.get("/admin/").content.decode()
    assert revoker.get(url(kind)).status_code == 200
    revoker.post(url(kind), action(kind, confirmed="1"))

    assert not site.active(answer.access)


@each_token
@pytest.mark.parametrize("bound", [True, False])
def test_revoking_asks_and_ends_the_pair_and_is_noted(
    operator: Client, make_bound: Callable[..., Site], make_site: Callable[..., Site], kind: str, bound: bool
) -> None:
    site = make_bound() if bound else make_site()
    answer, other = site.bound("phone"), site.bound("laptop")
    token = MODELS[kind].objects.order_by("pk")[0]
    selected = {"action": "revoke_tokens", "_selected_action": [token.pk]}

    page = operator.post(url(kind), selected).content.decode()
    assert "will be revoked at once" in page
    assert str(token) in page
    assert site.active(answer.access)

    done = operator.post(url(kind), {**selected, "confirmed": "1"}, follow=True)
    assert "Revoked 1 " in done.content.decode()
    assert not site.active(answer.access)
    assert site.refresh(answer.refresh)["error"] == "invalid_grant"
    assert site.active(other.access)
    history = operator.get(f"{url(kind)}{token.pk}/history/").content.decode()
    assert f"Revoked: {site.application}, alice: {token}" in history


@each_token
def test_a_great_many_are_not_revoked_at_once(
    operator: Client, make_bound: Callable[..., Site], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("oauth_binding.console.read_only.MAX_REVOKED", 1)
    site = make_bound()
    answers = [site.bound("phone"), site.bound("laptop")]

    page = operator.post(url(kind), action(kind, confirmed="1"), follow=True).content.decode()

    assert "Select at most 1 tokens." in page
    assert all(site.active(answer.access) for answer in answers)
