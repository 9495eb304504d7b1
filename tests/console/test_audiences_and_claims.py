"""The console's section "Token policy": audiences and claims."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings
from oauth2_provider.models import get_application_model

from oauth_binding.models import TOKEN_EXCHANGE, TokenExchangeRule, TokenPolicy
from tests.helpers.audiences import set_policy
from tests.helpers.client import Site
from tests.helpers.staff import APPLICATIONS, errors, form, policy, staff

RULES = "/admin/oauth_binding/tokenexchangerule/add/"

with_sources = override_settings(OAUTH_BINDING={"CLAIM_SOURCES": {"email": "email", "name": "first_name"}})


def section(**fields: Any) -> dict[str, Any]:
    """Return what the section posts."""
    return {**policy(), **{f"token_policy-0-{name}": value for name, value in fields.items()}}


def change(operator: Client, site: Site, **fields: Any) -> Any:
    application = site.application
    row = TokenPolicy.objects.filter(application=application).values_list("pk", flat=True).first()
    posted = form(client_id=application.client_id, **{**section(**fields), **policy(row=row)})
    return operator.post(f"{APPLICATIONS}{application.pk}/change/", posted)


def page(operator: Client, site: Site) -> str:
    shown: str = operator.get(f"{APPLICATIONS}{site.application.pk}/change/").content.decode()
    return shown


@with_sources
def test_they_are_set_and_noted(operator: Client, make_site: Callable[..., Site]) -> None:
    site = make_site()
    lists = {"allowed_audiences": "https://a.example\r\nbank", "default_audiences": "bank"}

    assert change(operator, site, **lists, claims=["name", "email"]).status_code == 302

    row = TokenPolicy.objects.get()
    assert row.allowed_audiences.split() == ["https://a.example", "bank"]
    assert (row.default_audiences, row.claims) == ("bank", "name email")
    notes = json.loads(LogEntry.objects.latest("pk").change_message)
    (fields,) = [note["changed"]["fields"] for note in notes if "name" in note["changed"]]
    assert fields == [
        "Allowed audiences (from nothing to “https://a.example bank”)",
        "Default audiences (from nothing to “bank”)",
        "Claims (from nothing to name, email)",
    ]
    shown = page(operator, site)
    assert shown.count(' name="token_policy-0-claims"') == 2
    ticked = re.findall(r'<input[^>]* name="token_policy-0-claims"[^>]* checked', shown)
    assert len(ticked) == 2
    assert change(operator, site, **lists, claims=[]).status_code == 302
    assert TokenPolicy.objects.get().claims == ""


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        ("default_audiences", {"allowed_audiences": "https://a", "default_audiences": "https://b"}),
        ("default_audiences", {"default_audiences": "a " * 21}),
        ("default_audiences", {"default_audiences": "a" * 4_097}),
        ("allowed_audiences", {"allowed_audiences": "a" * 4_097}),
        ("allowed_audiences", {"allowed_audiences": "https://a/\x7f"}),
        ("claims", {"claims": ["phone"]}),
    ],
)
@with_sources
def test_what_can_not_work_is_refused_at_the_field(
    operator: Client, field: str, sent: dict[str, str]
) -> None:
    answer = operator.post(APPLICATIONS + "add/", form(**section(**sent)))

    assert list(errors(answer)) == [field]
    assert not get_application_model().objects.exists()


@with_sources
def test_a_claim_whose_source_is_gone_has_to_be_unticked(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    site = make_site()
    set_policy(site, claims="email phone")
    assert 'value="phone"' in page(operator, site)

    answer = change(operator, site, claims=["email", "phone"])
    assert errors(answer)["claims"] == ["The setting CLAIM_SOURCES has no such claims: phone"]
    assert change(operator, site, claims=["email"]).status_code == 302
    assert TokenPolicy.objects.get().claims == "email"


def test_without_sources_there_is_nothing_to_tick(operator: Client, make_site: Callable[..., Site]) -> None:
    site = make_site()
    assert "token_policy-0-claims" not in page(operator, site)
    set_policy(site, claims="email")
    assert 'value="email"' in page(operator, site)


@pytest.mark.parametrize(
    ("allowed", "default", "sentence"),
    [
        ("", "", "A request that asks for none gets tokens that APIs here take for any resource."),
        ("", "https://a", "A client may ask for any resource. A request that asks for none gets tokens for"),
        ("https://a", "", "A request that asks for none is refused, too."),
        ("https://a", "https://a", "refreshing leaves it out. A request that asks for none gets tokens for"),
    ],
)
def test_the_page_says_what_the_lists_do(
    operator: Client, make_site: Callable[..., Site], allowed: str, default: str, sentence: str
) -> None:
    site = make_site()
    set_policy(site, allowed_audiences=allowed, default_audiences=default)
    shown = page(operator, site).partition('id="audiences-effect" role="status">')[2]

    effect, _end, rest = shown.partition("</div>")
    assert sentence in effect
    texts = json.loads(rest.partition('type="application/json">')[2].partition("</script>")[0])
    assert texts[f"{int(bool(allowed))} {int(bool(default))}"] == effect


@with_sources
def test_who_may_only_look_sees_them(make_site: Callable[..., Site]) -> None:
    site = make_site()
    set_policy(site, allowed_audiences="https://orders.example", claims="email")

    shown = page(staff("view_application"), site)

    assert "https://orders.example" in shown
    assert "token_policy-0-allowed_audiences" not in shown
    assert "token_policy-0-claims" not in shown


@pytest.mark.parametrize(
    ("audiences", "default", "refused"),
    [
        ("https://a bank", "", False),
        ("https://b", "", True),
        ("", "", True),
        ("", "bank", False),
    ],
)
def test_a_rule_that_the_policy_leaves_nothing_of_is_refused(
    operator: Client, make_site: Callable[..., Site], audiences: str, default: str, refused: bool
) -> None:
    site = make_site("client_credentials", additional_grant_types=TOKEN_EXCHANGE)
    set_policy(site, allowed_audiences="https://a bank", default_audiences=default)
    pk = site.application.pk
    sent = {"client": pk, "subject_client": pk, "impersonation": "on", "audiences": audiences}

    answer = operator.post(RULES, sent)

    assert TokenExchangeRule.objects.exists() is not refused
    if refused:
        assert list(errors(answer)) == ["audiences"]
