"""The console's section "Token policy": what the choices do, which are refused, and who sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone
from oauth2_provider.models import Application, get_application_model

from oauth_binding.console import BindingApplicationAdmin
from oauth_binding.models import (
    DPOP,
    NO_CONSTRAINT,
    Demand,
    TokenBinding,
    TokenPolicy,
    binding_type_choices,
    policy_of,
)
from tests.helpers.client import REDIRECT_URI, Site
from tests.helpers.staff import APPLICATIONS, errors, form, policy, staff

BINDINGS = "/admin/oauth_binding/tokenbinding/"


def url(application: Any) -> str:
    return f"{APPLICATIONS}{application.pk}/change/"


def made_in_the_console(operator: Client, **fields: Any) -> Any:
    answer = operator.post(APPLICATIONS + "add/", form(**fields))
    assert answer.status_code == 302, errors(answer)
    return get_application_model().objects.get()


def changed(operator: Client, application: Any, **fields: Any) -> Any:
    return operator.post(url(application), form(client_id=application.client_id, **fields))


def chosen(application: Any) -> tuple[str, str]:
    found = TokenPolicy.objects.filter(application=application)
    ((constraint, demand),) = found.values_list("sender_constraint", "require_sender_constraint")
    return constraint, demand


def section(page: Any) -> str:
    """Return the part of a page of an application that has its token policy."""
    content: str = page.content.decode()
    _before, found, rest = content.partition('id="token_policy-group"')
    assert found
    return rest


def effect(page: Any) -> str:
    """Return what the page of an application says of its token policy."""
    shown: str = (
        section(page).partition('id="sender-constraint-effect" role="status">')[2].partition("</div>")[0]
    )
    return shown


# Choosing


def test_an_application_has_a_policy_from_the_beginning(operator: Client) -> None:
    application = made_in_the_console(operator, **policy("dpop", "report"))

    assert chosen(application) == ("dpop", "report")


def test_what_is_left_as_it_is_needs_no_row(operator: Client) -> None:
    application = made_in_the_console(operator)
    assert changed(operator, application, name="Another name").status_code == 302

    assert not TokenPolicy.objects.exists()


def test_a_policy_is_changed_and_lifted(operator: Client, make_site: Callable[..., Site]) -> None:
    application = make_site().application

    assert changed(operator, application, **policy("dpop", "yes")).status_code == 302
    assert chosen(application) == ("dpop", "yes")
    row = TokenPolicy.objects.get().pk
    assert changed(operator, application, **policy("none", "no", row)).status_code == 302
    assert chosen(application) == ("none", "no")


@pytest.mark.parametrize(
    ("before", "sent", "noted"),
    [
        (None, ("dpop", "no"), ["Sender constraint"]),
        (None, ("dpop", "yes"), ["Sender constraint", "Require a proof"]),
        (("dpop", "no"), ("dpop", "report"), ["Require a proof"]),
    ],
    ids=["without a row", "both", "with a row"],
)
def test_the_history_says_what_was_changed(
    operator: Client,
    make_site: Callable[..., Site],
    before: tuple[str, str] | None,
    sent: tuple[str, str],
    noted: list[str],
) -> None:
    application = make_site(name="Mobile app").application
    row = None if before is None else set_policy(application, *before).pk

    changed(operator, application, **policy(*sent, row))

    notes = json.loads(LogEntry.objects.get().change_message)
    (of_policy,) = [note["changed"] for note in notes if note["changed"].get("name") == "token policy"]
    assert of_policy["fields"] == noted


def set_policy(application: Any, sender_constraint: str, demand: str) -> TokenPolicy:
    return TokenPolicy.objects.create(
        application=application, sender_constraint=sender_constraint, require_sender_constraint=demand
    )


# What can't work


@pytest.mark.parametrize("demand", ["report", "yes"])
def test_nothing_is_demanded_without_a_constraint(operator: Client, demand: str) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**policy("none", demand)))

    assert list(errors(page)) == ["require_sender_constraint"]
    assert "Without a sender constraint" in section(page)
    assert not Application.objects.exists()


@pytest.mark.parametrize(("demand", "refused"), [("no", False), ("report", False), ("yes", True)])
def test_the_implicit_grant_meets_no_demand(operator: Client, demand: str, refused: bool) -> None:
    implicit = {"allowed_grant_types": ["password", "implicit"], "redirect_uris": REDIRECT_URI}

    page = operator.post(APPLICATIONS + "add/", form(**implicit, **policy("dpop", demand)))

    if refused:
        assert list(errors(page)) == ["require_sender_constraint"]
        assert "gets no access tokens by the implicit grant" in section(page)
    assert Application.objects.exists() is not refused


def test_the_implicit_grant_is_not_added_to_a_demand(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    application = make_site().application
    row = set_policy(application, "dpop", "yes").pk
    implicit = {"allowed_grant_types": ["password", "implicit"], "redirect_uris": REDIRECT_URI}

    page = changed(operator, application, **implicit, **policy("dpop", "yes", row))
    assert list(errors(page)) == ["require_sender_constraint"]

    # Both at once can be right.
    assert changed(operator, application, **implicit, **policy("dpop", "no", row)).status_code == 302


def test_what_is_public_is_not_demanded_at_apis(operator: Client) -> None:
    public = form(token_binding_type="dpop-key", require_presented_binding=True, **policy("dpop", "no"))

    page = operator.post(APPLICATIONS + "add/", public)

    assert list(errors(page)) == ["require_presented_binding"]
    assert "naming it proves nothing" in page.content.decode()
    assert (
        operator.post(APPLICATIONS + "add/", {**public, "require_presented_binding": ""}).status_code == 302
    )


@pytest.mark.parametrize("field", ["sender_constraint", "require_sender_constraint"])
def test_what_is_no_choice_is_refused(operator: Client, field: str) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**{f"token_policy-0-{field}": "magic"}))

    assert list(errors(page)) == [field]


# What it says


@pytest.mark.parametrize(
    ("sender_constraint", "demand", "sentence"),
    [
        ("none", "no", "Access tokens are bearer tokens: whoever has one can use it."),
        ("dpop", "no", "A request without one gets bearer tokens"),
        ("dpop", "report", "This page says how many devices sent none."),
        ("dpop", "yes", "A request without one is refused."),
    ],
)
def test_the_section_tells_what_the_choices_do(
    operator: Client, make_site: Callable[..., Site], sender_constraint: str, demand: str, sentence: str
) -> None:
    application = make_site().application
    set_policy(application, sender_constraint, demand)

    assert sentence in effect(operator.get(url(application)))


def test_the_section_tells_what_binding_to_a_key_does(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    application = make_bound(token_binding_type="dpop-key").application

    assert "Tokens that are bound to a key are of no use without it." in effect(
        operator.get(url(application))
    )


def test_the_page_has_a_text_for_each_choice(operator: Client) -> None:
    shown = section(operator.get(APPLICATIONS + "add/"))

    texts = shown.partition('id="sender-constraint-effects" type="application/json">')[2]
    explained = json.loads(texts.partition("</script>")[0])
    assert explained.keys() == {
        f"{constraint} {demand} {binding_type}"
        for constraint in (NO_CONSTRAINT, DPOP)
        for demand in Demand.values
        for binding_type, _label in binding_type_choices()
    }
    assert all(explained.values())


def test_report_mode_tells_how_many_devices_sent_no_proof(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    site = make_bound()
    reporting = set_policy(site.application, "dpop", "report")
    for name, days in (("phone", 1), ("tablet", 6), ("laptop", 8), ("watch", None)):
        site.bound(name)
        missed = None if days is None else timezone.now() - timedelta(days=days)
        TokenBinding.objects.filter(binding_value=name).update(proof_missed=missed)
    other = make_bound()
    other.bound("other phone")
    TokenBinding.objects.filter(application=other.application).update(proof_missed=timezone.now())

    shown = section(operator.get(url(site.application)))
    assert "2 devices in the last 7 days sent no proof." in shown
    link = shown.partition(f'href="{BINDINGS}')[2].partition('"')[0].replace("&amp;", "&")
    found = operator.get(BINDINGS + link).context["cl"].result_list
    assert {binding.binding_value for binding in found} == {"phone", "tablet"}

    TokenBinding.objects.update(proof_missed=None)
    assert "0 devices in the last 7 days sent no proof." in section(operator.get(url(site.application)))
    for demand in ("no", "yes"):
        reporting.require_sender_constraint = demand
        reporting.save()
        assert "sent no proof" not in section(operator.get(url(site.application)))


def test_report_mode_counts_no_devices_where_there_are_none(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    site = make_site()
    set_policy(site.application, "dpop", "report")

    shown = section(operator.get(url(site.application)))

    assert "Devices can&#x27;t be told apart" in shown
    assert "sent no proof" not in shown


# Who sees and changes it


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (None, ["None", "Access tokens are bearer tokens"]),
        (("dpop", "yes"), ["DPoP: the client proves a key of its own", "A request without one is refused."]),
    ],
    ids=["without a row", "with a row"],
)
def test_who_may_only_view_sees_it_and_changes_nothing(
    make_site: Callable[..., Site], row: tuple[str, str] | None, shown: list[str]
) -> None:
    application = make_site().application
    if row is not None:
        set_policy(application, *row)
    viewer = staff("view_application")

    page = section(viewer.get(url(application)))

    assert [text for text in shown if text not in page] == []
    assert 'name="token_policy-0-sender_constraint"' not in page
    assert changed(viewer, application, **policy("dpop", "report")).status_code == 403
    found = policy_of(Application.objects.get())
    assert (found.sender_constraint, found.require_sender_constraint) == (row or ("none", "no"))


def test_who_may_change_the_application_needs_no_more(make_site: Callable[..., Site]) -> None:
    application = make_site().application

    assert changed(staff("change_application"), application, **policy("dpop", "no")).status_code == 302

    assert chosen(application) == ("dpop", "no")


def test_who_may_add_applications_needs_no_more(db: None) -> None:
    application = made_in_the_console(staff("add_application"), **policy("dpop", "yes"))

    assert chosen(application) == ("dpop", "yes")


class Notes(admin.StackedInline):  # type: ignore[type-arg]
    """Something that a site has beside its applications."""

    model = TokenBinding
    extra = 0


class SitesApplicationAdmin(BindingApplicationAdmin):
    """A site's own class, with inlines and a form of its own."""

    inlines = (Notes,)
    form = BindingApplicationAdmin.form.__base__
    exclude: ClassVar[Any] = ("additional_grant_types",)


sites_admin = admin.AdminSite("sites")
sites_admin.register(get_application_model(), SitesApplicationAdmin)
urlpatterns = [path("admin/", sites_admin.urls)]


@override_settings(ROOT_URLCONF=__name__)
def test_a_sites_own_admin_class_has_it(operator: Client, make_site: Callable[..., Site]) -> None:
    application = make_site().application
    set_policy(application, "dpop", "report")

    page = operator.get(url(application))

    assert "Devices can&#x27;t be told apart" in section(page)
    assert page.content.decode().count("oauth_binding/application_form.js") == 1
    sent = {
        **form(client_id=application.client_id, authorization_grant_type="password"),
        **policy("dpop", "yes", TokenPolicy.objects.get().pk),
        "token_bindings-TOTAL_FORMS": "0",
        "token_bindings-INITIAL_FORMS": "0",
    }
    assert operator.post(url(application), sent).status_code == 302
    assert chosen(application) == ("dpop", "yes")
