"""Who has ended or changed what: the histories of a binding, of its user and of its application."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, modify_settings
from django.test.utils import CaptureQueriesContext

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import TokenBinding, TokenExchangeRule
from tests.helpers.client import Site
from tests.helpers.staff import APPLICATIONS, form, policy

PHONE = binding_reference("phone")[:12]


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    site = make_bound(name="Mobile app")
    site.bound("phone")
    return site


@pytest.fixture
def browser(user: User) -> Client:
    """Alice's own browser."""
    client = Client()
    client.force_login(user)
    return client


def history(operator: Client, model: str, pk: object) -> list[tuple[str, str]]:
    """Return who has done what, as the page of the history of a row says it."""
    page = operator.get(f"/admin/{model}/{pk}/history/").content.decode()
    rows = re.findall(r"<th scope=\"row\">.*?</th>\s*<td>(.*?)</td>\s*<td>(.*?)</td>", page, re.DOTALL)
    return [(unescape(who), unescape(what)) for who, what in rows]


def histories(operator: Client, site: Site) -> list[list[tuple[str, str]]]:
    """Return the histories of the user and of the application."""
    assert site.user is not None
    return [
        history(operator, "auth/user", site.user.pk),
        history(operator, "oauth2_provider/application", site.application.pk),
    ]


def test_who_ended_a_device_is_known_when_it_is_gone(operator: Client, site: Site) -> None:
    binding = TokenBinding.objects.get()
    TokenBinding.objects.update(name="Alice's phone")

    operator.post(f"/admin/oauth_binding/tokenbinding/{binding.pk}/revoke/")

    noted = ("operator", f"Revoked: Mobile app, alice: Alice's phone ({PHONE}).")
    assert history(operator, "oauth_binding/tokenbinding", binding.pk) == [noted]
    TokenBinding.objects.all().delete()
    assert histories(operator, site) == [[noted], [noted]]


def test_what_it_looked_like_is_said_of_a_device_without_a_name(operator: Client, site: Site) -> None:
    TokenBinding.objects.update(last_browser="Firefox", last_os="Windows")

    operator.post(f"/admin/oauth_binding/tokenbinding/{TokenBinding.objects.get().pk}/revoke/")

    noted = ("operator", f"Revoked: Mobile app, alice: Firefox on Windows ({PHONE}).")
    assert histories(operator, site) == [[noted], [noted]]


def test_what_users_do_themselves_is_theirs(operator: Client, browser: Client, site: Site) -> None:
    binding = TokenBinding.objects.get()
    device = f"/oauth2/devices/binding-{binding.pk}"

    browser.post(f"{device}/rename/", {"name": "My phone"})
    browser.post(f"{device}/rename/", {"name": "My phone"})
    browser.post(f"{device}/sign-out/")

    noted = [
        ("alice", f"Renamed: Mobile app, alice: My phone ({PHONE}), from “” to “My phone”."),
        ("alice", f"Signed out: Mobile app, alice: My phone ({PHONE})."),
    ]
    assert history(operator, "oauth_binding/tokenbinding", binding.pk) == noted
    assert histories(operator, site) == [noted, noted]


def test_what_is_bound_to_nothing_is_noted_too(
    operator: Client, browser: Client, make_site: Callable[..., Site]
) -> None:
    site = make_site(name="Plain app")
    site.token()

    browser.post(f"/oauth2/devices/application-{site.application.pk}/sign-out/")

    of_user, of_application = histories(operator, site)
    assert [(who, what.partition(":")[0]) for who, what in of_user] == [("alice", "Signed out")]
    assert of_user == of_application
    assert "Plain app, alice" in of_user[0][1]


def test_signing_out_everywhere_else(operator: Client, browser: Client, site: Site) -> None:
    site.bound("laptop")

    browser.post("/oauth2/devices/sign-out-others/")

    said = "Signed out everywhere else: 2 devices and browsers."
    assert histories(operator, site)[0] == [("alice", said)]


def test_the_id_is_in_no_history(operator: Client, browser: Client, site: Site) -> None:
    binding = TokenBinding.objects.get()
    browser.post(f"/oauth2/devices/binding-{binding.pk}/sign-out/")
    operator.post(f"/admin/oauth_binding/tokenbinding/{binding.pk}/revoke/")
    operator.post(f"/admin/oauth_binding/tokenbinding/{binding.pk}/value/")

    entries = list(LogEntry.objects.values_list("object_repr", "change_message"))
    assert len(entries) == 9
    assert "phone" not in str(entries)


def test_without_the_admin_nothing_is_noted(browser: Client, site: Site) -> None:
    binding = TokenBinding.objects.get()
    with modify_settings(INSTALLED_APPS={"remove": ["django.contrib.admin"]}):
        answer = browser.post(f"/oauth2/devices/binding-{binding.pk}/sign-out/")

    assert answer.status_code == 302
    assert not LogEntry.objects.exists()


# Applications


def test_a_change_says_what_was_there_before(operator: Client, make_site: Callable[..., Site]) -> None:
    application = make_site(
        "password", name="Old name", token_type="opaque", token_binding_type="none"
    ).application
    sent = form(
        client_id=application.client_id,
        name="New name",
        allowed_grant_types=["password", "client-credentials"],
        algorithm="RS256",
        redirect_uris=application.redirect_uris,
        **policy("dpop", "report", max_devices="5"),
    )
    sent["token_policy-0-max_devices"] = "5"

    assert operator.post(f"{APPLICATIONS}{application.pk}/change/", sent).status_code == 302

    ((who, text),) = history(operator, "oauth2_provider/application", application.pk)
    assert who == "operator"
    for noted in (
        "Name (from “Old name” to “New name”)",
        "Token type (from Opaque to JWT",
        "Token binding type (from None to Client request)",
        "Allowed grant types (from Resource owner password-based to ",
        "Sender constraint (from None to DPoP",
        "Require a proof (from No to Report what would be refused)",
        "Devices per user (from nothing to “5”)",
    ):
        assert noted in text


def test_a_change_of_an_exchange_rule_says_so_too(operator: Client, make_site: Callable[..., Site]) -> None:
    client = make_site("client_credentials", additional_grant_types="token-exchange").application
    subject = make_site().application
    rule = TokenExchangeRule.objects.create(client=client, subject_client=subject, delegation=True)
    sent = {"client": client.pk, "subject_client": subject.pk, "subject_issuer": "", "impersonation": "on"}

    page = f"/admin/oauth_binding/tokenexchangerule/{rule.pk}/change/"
    assert operator.post(page, {**sent, "audiences": "bank"}).status_code == 302

    ((_who, text),) = history(operator, "oauth_binding/tokenexchangerule", rule.pk)
    assert "Delegation (from yes to no)" in text
    assert "udiences (from nothing to “bank”)" in text


def test_another_owner_is_named_and_no_other_user_is_read(
    operator: Client, make_site: Callable[..., Site], user: User
) -> None:
    application = make_site(name="Mobile app").application
    User.objects.create_user("mallory")
    sent = form(
        client_id=application.client_id,
        name="Mobile app",
        user=user.pk,
        redirect_uris=application.redirect_uris,
        algorithm="RS256",
    )

    with CaptureQueriesContext(connection) as queries:
        assert operator.post(f"{APPLICATIONS}{application.pk}/change/", sent).status_code == 302

    ((_who, text),) = history(operator, "oauth2_provider/application", application.pk)
    assert "User (from nothing to alice)" in text
    of_users = [query["sql"] for query in queries if 'FROM "auth_user"' in query["sql"].replace("`", '"')]
    assert [sql for sql in of_users if "WHERE" not in sql] == []


def test_a_secret_is_in_no_history(operator: Client, make_site: Callable[..., Site]) -> None:
    application = make_site(name="Mobile app").application
    before = application.client_secret
    sent = form(
        client_id=application.client_id,
        client_secret="another secret of some length",
        redirect_uris=application.redirect_uris,
        algorithm="RS256",
    )

    assert operator.post(f"{APPLICATIONS}{application.pk}/change/", sent).status_code == 302

    ((_who, text),) = history(operator, "oauth2_provider/application", application.pk)
    assert "Client secret" in text
    for secret in (before, "another secret"):
        assert secret not in text


def test_a_change_is_noted_in_the_language_of_the_operator(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    application = make_site(name="Alt").application
    sent = form(client_id=application.client_id, name="Neu", redirect_uris=application.redirect_uris)

    german = {"accept-language": "de"}
    operator.post(f"{APPLICATIONS}{application.pk}/change/", {**sent, "algorithm": "RS256"}, headers=german)

    assert "(von „Alt“ zu „Neu“)" in LogEntry.objects.get().get_change_message()
