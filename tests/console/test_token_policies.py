"""The console's section "Token policy": what the choices do, which are refused, and who sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any, ClassVar

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import path
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timezone import localtime
from oauth2_provider.models import Application, get_application_model

from oauth_binding.console import BindingApplicationAdmin
from oauth_binding.models import (
    DPOP,
    MISSED,
    NO_CONSTRAINT,
    Demand,
    TokenBinding,
    TokenPolicy,
    binding_type_choices,
    policy_of,
)
from tests.helpers.client import PASSWORD, REDIRECT_URI, Site, set_policy
from tests.helpers.provider import provider
from tests.helpers.reports import reports
from tests.helpers.rows import access_token_row
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


def set_proofs(application: Any, sender_constraint: str, demand: str) -> TokenPolicy:
    policy: TokenPolicy = set_policy(
        application, sender_constraint=sender_constraint, require_sender_constraint=demand
    )
    return policy


def section(page: Any) -> str:
    """Return the part of a page of an application that has its token policy."""
    content: str = page.content.decode()
    _before, found, rest = content.partition('id="token_policy-group"')
    assert found
    return rest


def effect(page: Any, name: str = "sender-constraint-effect") -> str:
    """Return what the page of an application says of its token policy."""
    return section(page).partition(f'id="{name}" role="status">')[2].partition("</div>")[0]


def texts(page: Any, name: str) -> dict[str, str]:
    """Return the texts that a page has for other choices."""
    _before, found, rest = page.content.decode().partition(f'id="{name}" type="application/json">')
    assert found
    by_choices: dict[str, str] = json.loads(rest.partition("</script>")[0])
    return by_choices


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
        (
            None,
            ("dpop", "no"),
            ["Sender constraint (from None to DPoP: the client proves a key of its own)"],
        ),
        (
            None,
            ("dpop", "yes"),
            [
                "Sender constraint (from None to DPoP: the client proves a key of its own)",
                "Require a proof (from No to Yes)",
            ],
        ),
        (
            ("dpop", "no"),
            ("dpop", "report"),
            ["Require a proof (from No to Report what would be refused)"],
        ),
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
    row = None if before is None else set_proofs(application, *before).pk

    changed(operator, application, **policy(*sent, row))

    notes = json.loads(LogEntry.objects.get().change_message)
    (of_policy,) = [note["changed"] for note in notes if note["changed"].get("name") == "token policy"]
    assert of_policy["fields"] == noted


# What can't work


@pytest.mark.parametrize("demand", ["report", "yes"])
def test_nothing_is_demanded_without_a_constraint(operator: Client, demand: str) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**policy("none", demand)))

    assert list(errors(page)) == ["require_sender_constraint"]
    assert "Without a sender constraint" in section(page)
    assert not Application.objects.exists()


@pytest.mark.parametrize("field", ["require_binding", "require_presented_binding"])
@pytest.mark.parametrize("demand", ["report", "yes"])
def test_nothing_is_named_without_a_binding_type(operator: Client, field: str, demand: str) -> None:
    unbound = {"token_binding_type": "none", **policy(**{field: demand})}

    page = operator.post(APPLICATIONS + "add/", form(**unbound))

    assert list(errors(page)) == [field]
    assert "Without a token binding type" in section(page)
    assert not Application.objects.exists()


@pytest.mark.parametrize(
    "field", ["require_binding", "require_presented_binding", "require_sender_constraint"]
)
@pytest.mark.parametrize(("demand", "refused"), [("no", False), ("report", False), ("yes", True)])
def test_the_implicit_grant_meets_no_demand(operator: Client, field: str, demand: str, refused: bool) -> None:
    implicit = {"allowed_grant_types": ["password", "implicit"], "redirect_uris": REDIRECT_URI}
    demanded = policy(**{"sender_constraint": "dpop", field: demand})

    page = operator.post(APPLICATIONS + "add/", form(**implicit, **demanded))

    if refused:
        assert list(errors(page)) == [field]
        assert "gets no access tokens by the implicit grant" in section(page)
    assert Application.objects.exists() is not refused


def test_the_implicit_grant_is_not_added_to_a_demand(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    application = make_site().application
    row = set_proofs(application, "dpop", "yes").pk
    implicit = {"allowed_grant_types": ["password", "implicit"], "redirect_uris": REDIRECT_URI}

    page = changed(operator, application, **implicit, **policy("dpop", "yes", row))
    assert list(errors(page)) == ["require_sender_constraint"]

    # Both at once can be right.
    assert changed(operator, application, **implicit, **policy("dpop", "no", row)).status_code == 302


@pytest.mark.parametrize("demand", ["report", "yes"])
def test_what_is_public_is_not_demanded_at_apis(operator: Client, demand: str) -> None:
    public = {"token_binding_type": "dpop-key", **policy("dpop", require_presented_binding=demand)}

    page = operator.post(APPLICATIONS + "add/", form(**public))

    assert list(errors(page)) == ["require_presented_binding"]
    assert "naming it proves nothing" in section(page)
    assert operator.post(APPLICATIONS + "add/", form(**{**public, **policy("dpop")})).status_code == 302


@pytest.mark.parametrize(
    "field",
    ["require_binding", "require_presented_binding", "sender_constraint", "require_sender_constraint"],
)
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
    set_proofs(application, sender_constraint, demand)

    assert sentence in effect(operator.get(url(application)))


def test_the_section_tells_what_binding_to_a_key_does(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    application = make_bound(token_binding_type="dpop-key").application

    assert "Tokens that are bound to a key are of no use without it." in effect(
        operator.get(url(application))
    )


@pytest.mark.parametrize(
    ("binding_type", "demand", "sentence"),
    [
        ("client-request", "no", "APIs take its tokens without being told what they are bound to."),
        (
            "client-request",
            "report",
            "is answered all the same. This page says how many devices made such requests.",
        ),
        ("client-request", "yes", "or with a token that is bound to nothing, is refused."),
        ("none", "yes", "Without a token binding type there is nothing that a request could name."),
        ("dpop-key", "report", "naming it proves nothing"),
    ],
)
def test_the_section_tells_what_apis_want(
    operator: Client, make_site: Callable[..., Site], binding_type: str, demand: str, sentence: str
) -> None:
    site = make_site(token_binding_type=binding_type, require_presented_binding=demand)

    assert sentence in effect(operator.get(url(site.application)), "presented-binding-effect")


def test_the_page_has_a_text_for_each_choice(operator: Client) -> None:
    page = operator.get(APPLICATIONS + "add/")

    binding_types = [binding_type for binding_type, _label in binding_type_choices()]
    for name, choices in {
        "token-binding-effects": (("opaque", "jwt"), binding_types, Demand.values),
        "presented-binding-effects": (Demand.values, binding_types),
        "sender-constraint-effects": ((NO_CONSTRAINT, DPOP), Demand.values, binding_types),
    }.items():
        found = texts(page, name)
        assert found.keys() == {" ".join(each) for each in product(*choices)}
        assert all(found.values())


def missed(site: Site, demand: str, name: str | None, days: int | None) -> TokenBinding:
    """Let the binding of a token request have fallen short of a demand so many days ago."""
    binding: TokenBinding = access_token_row(site.bound(name).access).binding
    date = None if days is None else timezone.now() - timedelta(days=days)
    TokenBinding.objects.filter(pk=binding.pk).update(**{MISSED[demand]: date})
    return binding


def linked_bindings(operator: Client, page: Any) -> set[TokenBinding]:
    """Return the bindings that the section of the token policy leads to."""
    link = section(page).partition(f'href="{BINDINGS}')[2].partition('"')[0].replace("&amp;", "&")
    return set(operator.get(BINDINGS + link).context["cl"].result_list)


@pytest.mark.parametrize(
    ("demand", "sentence"),
    [
        ("require_presented_binding", "%d devices in the last 7 days called an API without naming their"),
        ("require_sender_constraint", "%d devices in the last 7 days sent no proof."),
    ],
)
def test_report_mode_tells_how_many_devices_fell_short(
    operator: Client, make_bound: Callable[..., Site], demand: str, sentence: str
) -> None:
    site = make_bound(sender_constraint="dpop", **{demand: "report"})
    phone, tablet = missed(site, demand, "phone", 1), missed(site, demand, "tablet", 6)
    missed(site, demand, "laptop", 8)
    missed(site, demand, "watch", None)
    missed(make_bound(), demand, "phone of another application", 1)

    page = operator.get(url(site.application))
    assert sentence % 2 in section(page)
    assert linked_bindings(operator, page) == {phone, tablet}

    TokenBinding.objects.update(**{MISSED[demand]: None})
    assert sentence % 0 in section(operator.get(url(site.application)))
    for step in ("no", "yes"):
        set_policy(site.application, **{demand: step})
        assert "in the last 7 days" not in section(operator.get(url(site.application)))


def test_report_mode_tells_how_many_users_named_no_binding(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    """Whoever names none is in the shared slot of the user: how many devices that are, nobody knows."""
    demand = "require_binding"
    site = make_bound(require_binding="report", additional_grant_types="client-credentials")
    of_users = set()
    for name, days in (("alice", 1), ("bob", 6), ("carol", 8)):
        user, _is_new = User.objects.get_or_create(username=name)
        user.set_password(PASSWORD)
        user.save()
        binding = missed(Site(site.application, user), demand, None, days)
        of_users |= {binding} if days < 7 else set()

    page = operator.get(url(site.application))
    assert "2 users in the last 7 days made token requests that named no binding." in section(page)
    assert "for itself" not in section(page)
    assert linked_bindings(operator, page) == of_users

    of_client = access_token_row(site.token(grant_type="client_credentials").access).binding
    TokenBinding.objects.filter(pk=of_client.pk).update(binding_missed=timezone.now())
    page = operator.get(url(site.application))
    assert "2 users in the last 7 days" in section(page)
    assert "The client has made some for itself." in section(page)
    assert linked_bindings(operator, page) == {*of_users, of_client}


def test_a_report_is_counted_when_requests_come(operator: Client, make_bound: Callable[..., Site]) -> None:
    """From the requests to the page, with no step in between."""
    demands = dict.fromkeys(MISSED, "report")
    site = make_bound(sender_constraint="dpop", **demands)
    with reports():
        site.bound(None)
        token = site.bound("phone").access
        assert site.api(token) == 200

    shown = section(operator.get(url(site.application)))

    assert "1 user in the last 7 days made token requests that named no binding." in shown
    assert "1 device in the last 7 days called an API without naming its binding." in shown
    assert "2 devices in the last 7 days sent no proof." in shown


def test_the_page_of_a_binding_says_when_it_fell_short(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    phone = missed(make_bound(), "require_presented_binding", "phone", 1)

    page = operator.get(f"{BINDINGS}{phone.pk}/change/").content.decode()

    rows = [page.partition(f"field-{field}")[2].partition("</div>\n")[0] for field in MISSED.values()]
    date = date_format(localtime(timezone.now() - timedelta(days=1)), "DATE_FORMAT")
    assert [date in row for row in rows] == [False, True, False]


def test_report_mode_counts_no_devices_where_there_are_none(
    operator: Client, make_site: Callable[..., Site]
) -> None:
    site = make_site()
    set_proofs(site.application, "dpop", "report")

    shown = section(operator.get(url(site.application)))

    assert "Devices can&#x27;t be told apart" in shown
    assert "sent no proof" not in shown


# The limit of devices


def limit(max_devices: Any, action: str = "evict", row: int | None = None) -> dict[str, Any]:
    return {
        **policy(row=row),
        "token_policy-0-max_devices": max_devices,
        "token_policy-0-device_limit_action": action,
    }


def test_a_limit_of_devices_is_chosen_changed_and_lifted(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    application = make_bound().application

    assert changed(operator, application, **limit(5, "refuse")).status_code == 302
    row = TokenPolicy.objects.get()
    assert (row.max_devices, row.device_limit_action) == (5, "refuse")
    assert changed(operator, application, **limit("", row=row.pk)).status_code == 302
    row.refresh_from_db()
    assert (row.max_devices, row.device_limit_action) == (None, "evict")


@pytest.mark.parametrize("max_devices", ["0", "-1", "2.5", "many"])
def test_what_is_no_limit_of_devices_is_refused(operator: Client, max_devices: str) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**limit(max_devices)))

    assert list(errors(page)) == ["max_devices"]
    assert not Application.objects.exists()


def test_devices_are_not_limited_where_they_can_not_be_told_apart(operator: Client) -> None:
    unbound = {"token_binding_type": "none"}

    page = operator.post(APPLICATIONS + "add/", form(**unbound, **limit(5)))

    assert list(errors(page)) == ["max_devices"]
    assert "devices can&#x27;t be told apart" in section(page)
    # The site's limit is none of the application's.
    assert operator.post(APPLICATIONS + "add/", form(**unbound, **limit("", "refuse"))).status_code == 302


def test_binding_is_not_taken_from_an_application_that_limits_devices(
    operator: Client, make_bound: Callable[..., Site]
) -> None:
    application = make_bound().application
    row = TokenPolicy.objects.create(application=application, max_devices=5).pk

    page = changed(operator, application, token_binding_type="none", **limit(5, row=row))

    assert list(errors(page)) == ["max_devices"]


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        ("evict", "takes the place of the one that was used least recently"),
        ("refuse", "has to sign out of one first"),
    ],
)
def test_the_section_tells_what_the_limit_does(
    operator: Client, make_bound: Callable[..., Site], action: str, sentence: str
) -> None:
    application = make_bound().application
    TokenPolicy.objects.create(application=application, device_limit_action=action)

    shown = section(operator.get(url(application)))

    line = shown.partition('id="device-limit-effect" role="status">')[2].partition("</div>")[0]
    assert sentence in line
    texts = shown.partition('id="device-limit-effects" type="application/json">')[2]
    assert json.loads(texts.partition("</script>")[0]).keys() == {
        f"{action} {binding_type}"
        for action in ("evict", "refuse")
        for binding_type, _label in binding_type_choices()
    }


@pytest.mark.parametrize(
    ("site_limit", "sentence"), [(3, "The site&#x27;s limit is 3."), (None, "The site has no limit.")]
)
def test_the_section_tells_the_sites_limit(
    operator: Client, settings: Any, site_limit: int | None, sentence: str
) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "MAX_DEVICES": site_limit}

    assert sentence in section(operator.get(APPLICATIONS + "add/"))


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
        set_proofs(application, *row)
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
    set_proofs(application, "dpop", "report")

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


# Lifetimes


def lifetimes(**fields: Any) -> dict[str, Any]:
    """Return what the section posts with some fields filled in."""
    return {**policy(), **{f"token_policy-0-{name}": str(value) for name, value in fields.items()}}


def test_lifetimes_are_chosen(operator: Client) -> None:
    made_in_the_console(operator, **lifetimes(access_token_lifetime=600, rotate_refresh_tokens="false"))

    row = TokenPolicy.objects.get()
    assert (row.access_token_lifetime, row.client_token_lifetime) == (600, None)
    assert (row.rotate_refresh_tokens, row.refresh_token_reuse_protection) == (False, None)


def test_the_form_says_what_the_site_has(
    operator: Client, make_site: Callable[..., Site], settings: Any
) -> None:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "ACCESS_TOKEN_EXPIRE_SECONDS": 1_234,
        "REFRESH_TOKEN_EXPIRE_SECONDS": timedelta(days=2),
        "ROTATE_REFRESH_TOKEN": False,
    }
    page = section(operator.get(url(make_site().application)))

    assert page.count('placeholder="1234"') == 3
    assert page.count('placeholder="172800"') == 1
    assert page.count("Site default: no") == 2


def test_the_page_says_what_it_comes_to(
    operator: Client, make_site: Callable[..., Site], settings: Any
) -> None:
    application = make_site(token_binding_type="client-request").application
    TokenPolicy.objects.create(
        application=application,
        access_token_lifetime=5_400,
        login_lifetime=90 * 86_400,
        reuse_min_lifetime=61,
    )
    page = section(operator.get(url(application)))

    assert "An access token of a user is valid for 1 hour 30 minutes." in page
    assert "One of the client&#x27;s own is valid for 1 hour." in page
    assert "A login ends after 90 days, however often it is refreshed." in page
    assert "An opaque token is returned again as long as 1 minute 1 second of it are left." in page
    assert "sender-constrained one is valid" not in page


@pytest.mark.parametrize(
    ("fields", "at", "says"),
    [
        ({"access_token_lifetime": 0}, "access_token_lifetime", "greater than or equal to 1"),
        ({"access_token_lifetime": "ten"}, "access_token_lifetime", "whole number"),
        ({"access_token_lifetime": 61, "login_lifetime": 60}, "access_token_lifetime", "lasts 60 seconds"),
        ({"refresh_token_lifetime": 61, "login_lifetime": 60}, "refresh_token_lifetime", "lasts 60 seconds"),
        (
            {"constrained_token_lifetime": 61, "login_lifetime": 60},
            "constrained_token_lifetime",
            "lasts 60 seconds",
        ),
        ({"refresh_token_lifetime": 3_601}, "refresh_token_lifetime", "after 3600 seconds already"),
        (
            {"access_token_lifetime": 60, "reuse_min_lifetime": 31},
            "reuse_min_lifetime",
            "which is 60 seconds",
        ),
        ({"reuse_min_lifetime": 1_801}, "reuse_min_lifetime", "which is 3600 seconds"),
        (
            {"rotate_refresh_tokens": "false", "refresh_token_reuse_protection": "true"},
            "refresh_token_reuse_protection",
            "never used up",
        ),
    ],
)
def test_contradictions_are_refused_at_the_field(
    operator: Client, settings: Any, fields: dict[str, Any], at: str, says: str
) -> None:
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "REFRESH_TOKEN_EXPIRE_SECONDS": 3_600}
    page = operator.post(APPLICATIONS + "add/", form(**lifetimes(**fields)))

    assert list(errors(page)) == [at]
    assert says in section(page)
    assert not Application.objects.exists()


# Logout


LOGOUT_URI = "https://client.example/logout"


def logout(uri: str, row: Any = None, **fields: str) -> dict[str, Any]:
    """Return what an application's form posts of logout."""
    return {"algorithm": "RS256", **policy(row=row, backchannel_logout_uri=uri, **fields)}


def test_an_address_for_logouts_is_chosen_and_taken_away(operator: Client) -> None:
    application = made_in_the_console(
        operator, **logout(LOGOUT_URI, backchannel_logout_session_required="on")
    )
    row = TokenPolicy.objects.get()
    assert (row.backchannel_logout_uri, row.backchannel_logout_session_required) == (LOGOUT_URI, True)
    assert LOGOUT_URI in section(operator.get(url(application)))

    assert changed(operator, application, **logout("", row=row.pk)).status_code == 302

    row.refresh_from_db()
    assert (row.backchannel_logout_uri, row.backchannel_logout_session_required) == ("", False)


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("http://client.example/logout", "This has to be https"),
        ("client.example/logout", "This has to be an https address"),
        (f"{LOGOUT_URI}#x", "without a user or a fragment"),
        ("https://me:secret@client.example/", "without a user or a fragment"),
        ("https://10.0.0.1/logout", "This address is inside the network"),
        ("https://localhost/logout", "This address is inside the network"),
    ],
)
def test_what_is_no_address_for_logouts_is_refused(operator: Client, uri: str, sentence: str) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**logout(uri)))

    assert list(errors(page)) == ["backchannel_logout_uri"]
    assert sentence in section(page)
    assert not Application.objects.exists()


def test_an_address_inside_that_the_site_allows(operator: Client, settings: Any) -> None:
    settings.OAUTH_BINDING = {"BACKCHANNEL_LOGOUT_NETWORKS": ["10.0.0.0/24", "127.0.0.1/32"]}
    for uri in ("http://10.0.0.1:8000/", "http://localhost/"):
        made_in_the_console(operator, **logout(uri)).delete()


def test_an_address_for_logouts_needs_an_algorithm(operator: Client, make_site: Callable[..., Site]) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**{**logout(LOGOUT_URI), "algorithm": ""}))
    assert list(errors(page)) == ["backchannel_logout_uri"]
    assert "nothing to sign logout tokens with" in section(page)

    # Nor is the algorithm taken away later.
    application = make_site(backchannel_logout_uri=LOGOUT_URI).application
    row = TokenPolicy.objects.get().pk
    page = changed(operator, application, **{**logout(LOGOUT_URI, row=row), "algorithm": ""})
    assert list(errors(page)) == ["backchannel_logout_uri"]


def test_an_address_for_logouts_needs_openid_connect(operator: Client) -> None:
    with provider(OIDC_ENABLED=False):
        page = operator.post(APPLICATIONS + "add/", form(**logout(LOGOUT_URI)))

    assert list(errors(page)) == ["backchannel_logout_uri"]


def test_a_session_id_in_logout_tokens_needs_an_address(operator: Client) -> None:
    page = operator.post(APPLICATIONS + "add/", form(**logout("", backchannel_logout_session_required="on")))

    assert list(errors(page)) == ["backchannel_logout_session_required"]


def test_a_change_of_it_is_in_the_history(operator: Client, make_site: Callable[..., Site]) -> None:
    application = make_site(backchannel_logout_uri=LOGOUT_URI).application
    row = TokenPolicy.objects.get().pk

    changed(operator, application, **logout("https://client.example/other", row=row))

    assert "ack-channel logout URI" in LogEntry.objects.latest("pk").change_message
