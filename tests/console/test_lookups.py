"""What nobody may read from a list by its address, letter by letter: every column that is not filtered by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.admin.exceptions import DisallowedModelAdminLookup
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.db.models import CharField, Model, TextField
from django.test import Client, RequestFactory
from django.urls import resolve
from oauth2_provider.models import AccessToken

from oauth_binding.models.sightings import Sighted
from tests.helpers.client import Site

#: By admin: the fields its list may be filtered by, through filters and links.
FILTERED: Final[dict[str, set[str]]] = {
    "oauth2_provider.application": {
        *("token_type", "token_binding_type", "client_type", "authorization_grant_type"),
        *("skip_authorization", "registration_source"),
    },
    "oauth2_provider.accesstoken": {"application", "application__id", "binding", "binding__id"},
    "oauth2_provider.refreshtoken": {"application", "application__id", "binding", "binding__id"},
    "oauth2_provider.grant": set(),
    "oauth2_provider.idtoken": {"application", "application__id"},
    "oauth_binding.logoutnotification": {"application", "application__id"},
    "oauth_binding.tokenbinding": {"application", "application__id", "user", "user__id"},
    "oauth_binding.loginsession": {"user", "user__id"},
    "oauth_binding.tokenexchangerule": {
        "impersonation",
        "delegation",
        "refresh_tokens",
        "accept_unproven_subject",
    },
}

#: Text columns that are secrets, or that secrets are found with.
SECRET: Final = {
    *("oauth2_provider.application.client_secret", "auth.user.password"),
    *("oauth2_provider.accesstoken.token", "oauth2_provider.accesstoken.token_checksum"),
    *("oauth2_provider.accesstoken.token_seed", "oauth2_provider.accesstoken.slot"),
    *("oauth2_provider.refreshtoken.token", "oauth2_provider.refreshtoken.token_checksum"),
    *("oauth2_provider.refreshtoken.token_seed", "oauth2_provider.grant.code"),
    *("oauth2_provider.grant.code_challenge", "oauth2_provider.grant.nonce"),
    *("oauth2_provider.devicegrant.device_code", "oauth2_provider.devicegrant.user_code"),
    *("oauth_binding.tokenbinding.binding_value", "oauth_binding.tokenbinding.key"),
    *("oauth_binding.tokenbinding.reference", "oauth_binding.codecontext.digest"),
    *("oauth_binding.codecontext.code_challenge", "oauth_binding.codecontext.access_token"),
    *("oauth_binding.tokenexchange.subject", "oauth_binding.tokenexchange.key"),
}

#: Those that are none.
OPEN: Final = {
    *("auth.user.username", "auth.user.first_name", "auth.user.last_name", "auth.user.email"),
    *("auth.group.name", "auth.permission.name", "auth.permission.codename"),
    *("contenttypes.contenttype.app_label", "contenttypes.contenttype.model"),
    *("admin.logentry.object_id", "admin.logentry.object_repr", "admin.logentry.change_message"),
    *(
        f"oauth2_provider.application.{name}"
        for name in (
            *("client_id", "redirect_uris", "post_logout_redirect_uris", "client_type", "name"),
            *("authorization_grant_type", "algorithm", "allowed_origins", "registration_source"),
            *("token_type", "access_token_algorithm", "token_binding_type", "additional_grant_types"),
        )
    ),
    *("oauth2_provider.accesstoken.scope", "oauth2_provider.accesstoken.jti"),
    *("oauth2_provider.accesstoken.binding_may_act", "oauth2_provider.idtoken.scope"),
    # The thumbprint of a public key.
    *(
        "oauth2_provider.accesstoken.binding_confirmation",
        "oauth2_provider.refreshtoken.binding_confirmation",
    ),
    *("oauth_binding.tokenpolicy.sender_constraint", "oauth_binding.tokenpolicy.require_sender_constraint"),
    *("oauth_binding.tokenpolicy.allowed_audiences", "oauth_binding.tokenpolicy.default_audiences"),
    "oauth_binding.tokenpolicy.claims",
    "oauth_binding.tokenpolicy.device_limit_action",
    *("oauth_binding.tokenpolicy.revoke_on_logout", "oauth_binding.tokenpolicy.backchannel_logout_uri"),
    *("oauth_binding.loginsession.issuer", "oauth_binding.loginsession.termination_reason"),
    *(
        f"oauth_binding.{model}.{field.name}"
        for model in ("loginsession", "tokenbinding")
        for field in Sighted._meta.get_fields()
    ),
    "oauth_binding.loginsessionclient.sub",
    *("oauth_binding.logoutnotification.issuer", "oauth_binding.logoutnotification.sub"),
    "oauth_binding.logoutnotification.failure",
    *("oauth_binding.tokenpolicy.require_binding", "oauth_binding.tokenpolicy.require_presented_binding"),
    *("oauth2_provider.grant.redirect_uri", "oauth2_provider.grant.scope", "oauth2_provider.grant.claims"),
    *("oauth2_provider.grant.code_challenge_method", "oauth2_provider.devicegrant.scope"),
    *("oauth2_provider.devicegrant.status", "oauth2_provider.devicegrant.client_id"),
    *("oauth_binding.tokenbinding.binding_type", "oauth_binding.tokenbinding.name"),
    # What operators and users are shown.
    *(
        f"oauth_binding.{model}.{when}_{name}"
        for model in ("tokenbinding", "loginsession")
        for when in ("first", "last")
        for name in ("browser", "os", "device", "address", "place")
    ),
    *("oauth_binding.codecontext.code_challenge_method", "oauth_binding.tokenexchange.subject_issuer"),
    *("oauth_binding.tokenexchangerule.subject_issuer", "oauth_binding.tokenexchangerule.audiences"),
}

ADMINS: Final[dict[str, Any]] = {
    model._meta.label_lower: model_admin
    for model, model_admin in admin.site._registry.items()
    if model._meta.app_label in {"oauth2_provider", "oauth_binding"}
}

each_admin = pytest.mark.parametrize("label", ADMINS)


def columns(model: type[Model], relations: int = 2, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the paths to all fields that can be reached over some relations, in either direction."""
    for field in model._meta.get_fields(include_hidden=True):
        if field.name.endswith("+"):
            continue  # has no name to look up by
        yield f"{path}{field.name}", field
        if relations and field.is_relation and field.related_model is not None:
            yield from columns(field.related_model, relations - 1, f"{path}{field.name}__")


def is_text(field: Any) -> bool:
    return isinstance(field, CharField | TextField)


def column(field: Any) -> str:
    return f"{field.model._meta.label_lower}.{field.name}"


def list_url(label: str) -> str:
    return f"/admin/{label.replace('.', '/')}/"


def test_every_admin_has_a_line() -> None:
    assert ADMINS.keys() == FILTERED.keys()


def test_every_text_column_is_known_for_a_secret_or_for_none() -> None:
    reachable = {
        column(field)
        for model_admin in ADMINS.values()
        for _path, field in columns(model_admin.model)
        if is_text(field) and field.model._meta.app_label != "sessions"
    }

    assert reachable - SECRET - OPEN == set()
    assert set() == SECRET & OPEN


@each_admin
def test_a_list_is_filtered_by_nothing_but_its_filters(
    operator: Client, label: str, rf: RequestFactory
) -> None:
    url = list_url(label)
    view, user = resolve(url).func, User.objects.get(username="operator")

    def is_refused(query: dict[str, str]) -> bool:
        request = rf.get(url, query)
        request.user = user
        try:
            view(request)
        except DisallowedModelAdminLookup:
            return True
        return False

    queries = [
        {f"{path}__{lookup}": "1"}
        for path, field in columns(ADMINS[label].model)
        if path not in FILTERED[label]
        for lookup in (["startswith", "regex"] if is_text(field) else ["exact", "gt"])
    ]
    assert [query for query in queries if not is_refused(query)] == []
    # As they are answered; more than a thousand, so not each is sent.
    assert operator.get(url, queries[0]).status_code == 400
    assert operator.get(url, queries[-1]).status_code == 400


@each_admin
def test_the_links_of_the_filters_work(operator: Client, make_bound: Callable[..., Site], label: str) -> None:
    make_bound().bound("phone")
    make_bound("jwt").bound("phone")
    page = operator.get(list_url(label))
    changes = page.context["cl"]

    links = [choice["query_string"] for spec in changes.filter_specs for choice in spec.choices(changes)]

    assert bool(links) is bool(changes.list_filter)
    assert {link: operator.get(list_url(label) + link).status_code for link in links} == dict.fromkeys(
        links, 200
    )


@pytest.mark.parametrize("parameter", ["__proto__", "token", "password", "nothing", "nothing__token"])
def test_what_is_no_field_is_refused_too(operator: Client, parameter: str) -> None:
    assert operator.get("/admin/oauth2_provider/accesstoken/", {parameter: "a"}).status_code == 400


@each_admin
def test_a_list_is_sorted_by_no_secret(operator: Client, label: str, rf: RequestFactory) -> None:
    model_admin = ADMINS[label]
    request = rf.get(list_url(label))
    request.user = operator.get("/admin/").context["user"]
    changes: ChangeList = model_admin.get_changelist_instance(request)
    sorted_by = {changes.get_ordering_field(name) for name in changes.list_display} - {None}

    secret = {
        name
        for path, field in columns(model_admin.model)
        if is_text(field) and column(field) in SECRET
        for name in (path, f"-{path}")
    }
    assert sorted_by & secret == set()
    assert model_admin.date_hierarchy is None


@each_admin
def test_a_popup_refers_by_no_secret(operator: Client, label: str) -> None:
    fields = [field for field in ADMINS[label].model._meta.concrete_fields if column(field) in SECRET]

    for field in fields:
        answer = operator.get(list_url(label), {"_popup": "1", "_to_field": field.name})
        assert answer.status_code == 400, field


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ("oauth2_provider.accesstoken", "source_refresh_token"),
        ("oauth2_provider.refreshtoken", "access_token"),
        ("oauth2_provider.accesstoken", "binding"),
        ("oauth2_provider.accesstoken", "id_token"),
    ],
)
def test_completion_finds_nothing_by_a_secret(
    operator: Client, make_bound: Callable[..., Site], model: str, field: str
) -> None:
    site = make_bound(client_secret="zebra crossing")
    site.secret = "zebra crossing"
    answer = site.bound("phone in a pocket")
    app_label, model_name = model.split(".")
    for term in (answer.access[:8], answer.refresh[:8], answer.access, answer.refresh, "phone in", "zebra"):
        query = {"app_label": app_label, "model_name": model_name, "field_name": field, "term": term}
        found = operator.get("/admin/autocomplete/", query)
        assert found.status_code in {200, 403}
        assert found.status_code == 403 or found.json()["results"] == []


@each_admin
@pytest.mark.parametrize("letters", [3, 12])
def test_search_finds_nothing_by_the_beginning_of_a_secret(
    operator: Client, make_bound: Callable[..., Site], label: str, letters: int
) -> None:
    site = make_bound(client_secret="zebra crossing", name="~", client_id="~")
    site.secret = "zebra crossing"
    answer = site.bound("phone in a pocket")
    checksum = AccessToken.objects.get().token_checksum

    for secret in (answer.access, answer.refresh, checksum, "zebra crossing", "phone in a pocket"):
        page = operator.get(list_url(label), {"q": secret[:letters]})
        assert page.context["cl"].result_count == 0, secret
