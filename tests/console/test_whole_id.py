"""The whole id of a binding: on one page of the console, for those who may, on request; and nowhere else."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import unquote

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db.models import ForeignKey
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import LoginSession, LogoutNotification, TokenBinding, TokenPolicy
from tests.helpers.client import Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.error_reports import mailed, mailing
from tests.helpers.exchange import allow
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.staff import staff

BINDINGS = "/admin/oauth_binding/tokenbinding/"

#: An id that is nowhere by chance.
CANARY: Final = "canary-4711-of-a-binding"

#: What the walk asks each page of an admin for, by the end of its address' name; None: tested apart.
PAGES: Final[dict[str, str | None]] = {
    "changelist": "",
    "add": "add/",
    "change": "{pk}/change/",
    "history": "{pk}/history/",
    "delete": "{pk}/delete/",
    "revoke": "{pk}/revoke/",
    "end": "{pk}/end/",
    "find": "find/",
    "csv": "csv/",
    "end_all": "end-all/",
    "end_all_of": None,  # of users and applications: test_end_all.py
    "value": None,
    "password_change": None,  # of users, under another name
}

ADMINS: Final[dict[str, Any]] = {
    model._meta.label_lower: model_admin
    for model, model_admin in admin.site._registry.items()
    if model._meta.app_label in {"oauth2_provider", "oauth_binding"} or model is User
}


@pytest.fixture
def secrets(make_bound: Callable[..., Site], make_site: Callable[..., Site], user: User) -> list[str]:
    """Have a row of everything that the console shows; return the ids that it belongs to."""
    site = make_bound("jwt", "authorization_code", name="Phone app")
    site.bound(CANARY, scope="openid read")
    site.authorization_code("openid read")  # that nobody has redeemed
    mail = make_site("authorization_code", name="Mail", token_binding_type="sso-session")
    login(mail, signed_in(user))
    session = LoginSession.objects.get(user=user, clients__application=mail.application)
    assert TokenBinding.objects.filter(binding_value=str(session.sid)).exists()
    LogoutNotification.objects.create(
        application=mail.application, issuer="https://example.com", sub="1", sid=session.sid
    )
    backend = make_site(additional_grant_types="token-exchange", name="Backend")
    allow(backend, site)
    return [CANARY, str(session.sid), session.sid.hex]


class Visitor:
    """Looks at pages, and keeps all that it was answered."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: list[str] = []

    def look(self, response: Any) -> Any:
        assert response.status_code in {200, 302, 403}, response
        headers = [f"{name}: {value}" for name, value in response.items()]
        content = response.getvalue().decode()  # also where it is made while it is sent
        self.seen += [unquote(response.request["QUERY_STRING"]), *headers, content]
        return response

    def get(self, url: str, query: Any = None) -> Any:
        return self.look(self.client.get(url, query))

    def post(self, url: str, form: Any) -> Any:
        return self.look(self.client.post(url, form, follow=True))


def list_url(label: str) -> str:
    return f"/admin/{label.replace('.', '/')}/"


def objects(model_admin: Any) -> Any:
    """Return the rows of an admin, but not who looks at them."""
    rows = model_admin.model._default_manager.all()
    return rows.exclude(username="operator") if model_admin.model is User else rows


def addresses(label: str) -> Iterator[str]:
    """Yield the addresses of all pages of an admin."""
    model_admin = ADMINS[label]
    own = label.replace(".", "_") + "_"
    for name in {pattern.name for pattern in model_admin.get_urls()} - {None}:
        page = PAGES[name.removeprefix(own).removeprefix("auth_user_")]
        if page is None:
            continue
        for row in objects(model_admin) if "{pk}" in page else [None]:
            yield list_url(label) + page.format(pk="" if row is None else row.pk)


def walk(visitor: Visitor) -> None:
    """Look at each page, take each filter, ask for each action and each completion."""
    for label, model_admin in ADMINS.items():
        for address in addresses(label):
            visitor.get(address)
        page = visitor.get(list_url(label))
        changes = page.context["cl"]
        for spec in changes.filter_specs:
            for choice in spec.choices(changes):
                visitor.get(list_url(label) + choice["query_string"])
        for action in actions(page):
            visitor.post(list_url(label), selected(model_admin, action))
        for field in model_admin.model._meta.get_fields():
            if isinstance(field, ForeignKey):
                app_label, model_name = label.split(".")
                query = {"app_label": app_label, "model_name": model_name, "field_name": field.name}
                visitor.get("/admin/autocomplete/", {**query, "term": "alice"})
    visitor.get("/admin/")


def actions(page: Any) -> list[str]:
    form = page.context["action_form"]
    return [] if form is None else [name for name, _label in form.fields["action"].choices if name]


def selected(model_admin: Any, action: str, **extra: str) -> dict[str, Any]:
    pks = [row.pk for row in objects(model_admin)]
    return {"action": action, "_selected_action": pks, **extra}


def test_the_whole_id_is_in_one_answer_alone(
    operator: Client, secrets: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert [label for label, model_admin in ADMINS.items() if not objects(model_admin).exists()] == []
    visitor = Visitor(operator)
    walk(visitor)

    # Shown, found and then looked at again, now with a history.
    phone = TokenBinding.objects.get(binding_value=CANARY)
    shown = [operator.post(f"{BINDINGS}{binding.pk}/value/") for binding in TokenBinding.objects.all()]
    assert sum(CANARY in page.content.decode() for page in shown) == 1
    visitor.post(f"{BINDINGS}find/", {"value": CANARY})
    visitor.get(f"{BINDINGS}{phone.pk}/history/")
    # What asks before it does something, done.
    for label in sorted(ADMINS, key=lambda label: label == "auth.user"):
        for action in actions(operator.get(list_url(label))):
            if action != "delete_selected":
                visitor.post(list_url(label), selected(ADMINS[label], action, confirmed="1"))
    walk(visitor)
    for label in ("oauth2_provider.application", "auth.user"):
        visitor.post(list_url(label), selected(ADMINS[label], "delete_selected", post="yes"))
    visitor.get("/admin/")

    entries = [json.dumps(entry) for entry in LogEntry.objects.values_list("object_repr", "change_message")]
    everything = "\n".join([*visitor.seen, *entries, caplog.text])
    assert phone.reference[:12] in everything
    assert [secret for secret in secrets if secret in everything] == []
    assert not TokenBinding.objects.exists()


def test_a_name_stands_for_it(operator: Client, make_bound: Callable[..., Site]) -> None:
    make_bound().bound(CANARY)
    TokenBinding.objects.update(name="Alice's phone")
    binding = TokenBinding.objects.get()

    for page in (BINDINGS, f"{BINDINGS}{binding.pk}/revoke/", "/admin/oauth2_provider/accesstoken/"):
        assert "Alice&#x27;s phone" in operator.get(page).content.decode()


# Showing it


@pytest.fixture
def binding(make_bound: Callable[..., Site]) -> TokenBinding:
    make_bound().bound(CANARY)
    return TokenBinding.objects.get()


def test_it_is_shown_on_request_and_noted(operator: Client, binding: TokenBinding) -> None:
    page = operator.get(f"{BINDINGS}{binding.pk}/change/").content.decode()
    button = re.search(r'<form method="post" action="([^"]+)">[^<]*<input[^>]*csrf[^>]*>', page)
    assert button is not None
    assert "Show the whole id" in page
    assert not LogEntry.objects.exists()

    answer = operator.post(button[1])

    assert CANARY in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert "Whole id shown: " in operator.get(f"{BINDINGS}{binding.pk}/history/").content.decode()


def test_it_is_escaped(operator: Client, make_bound: Callable[..., Site]) -> None:
    make_bound().bound("<b>phone</b>")

    page = operator.post(f"{BINDINGS}{TokenBinding.objects.get().pk}/value/").content.decode()

    assert "&lt;b&gt;phone&lt;/b&gt;" in page
    assert "<b>phone" not in page


def test_an_address_alone_shows_nothing(operator: Client, binding: TokenBinding) -> None:
    answer = operator.get(f"{BINDINGS}{binding.pk}/value/")

    assert (answer.status_code, answer["Location"]) == (302, f"{BINDINGS}{binding.pk}/change/")
    assert not LogEntry.objects.exists()


def test_a_page_of_elsewhere_can_not_ask_for_it(binding: TokenBinding) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.create_superuser("operator", password="password"))

    assert client.post(f"{BINDINGS}{binding.pk}/value/").status_code == 403


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        ([], 403),
        (["view_tokenbinding"], 403),
        (["view_tokenbinding", "revoke_tokenbinding", "delete_tokenbinding", "change_tokenbinding"], 403),
        (["view_binding_value"], 403),
        (["view_binding_value", "view_tokenbinding"], 200),
        (["view_binding_value", "revoke_tokenbinding"], 200),
    ],
)
def test_who_may_have_it_shown(binding: TokenBinding, permissions: list[str], status: int) -> None:
    client = staff(*permissions)

    answer = client.post(f"{BINDINGS}{binding.pk}/value/")
    page = client.get(f"{BINDINGS}{binding.pk}/change/")

    assert answer.status_code == status
    assert (CANARY in answer.content.decode()) is (status == 200)
    assert ("Show the whole id" in page.content.decode()) is (status == 200)
    assert LogEntry.objects.exists() is (status == 200)


def test_what_has_no_secret_id_has_no_such_page(operator: Client, make_bound: Callable[..., Site]) -> None:
    make_bound().bound(None)
    site, key = make_bound(token_binding_type="dpop-key"), DeviceKey()
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    proof = {"DPoP": key.proof("POST", "/oauth2/token/")}
    assert site.post("/oauth2/token/", site.grant(), headers=proof).status == 200
    shared, public = TokenBinding.objects.order_by("binding_value")

    assert (shared.is_shared, public.reference) == (True, key.thumbprint)
    for binding in (shared, public):
        assert operator.post(f"{BINDINGS}{binding.pk}/value/").status_code == 404
        page = operator.get(f"{BINDINGS}{binding.pk}/change/").content.decode()
        assert "Show the whole id" not in page
        assert binding.reference in page
    assert operator.post(f"{BINDINGS}4711/value/").status_code == 404
    assert not LogEntry.objects.exists()


# Finding by it


def test_it_is_found_without_being_in_an_address(
    operator: Client, make_bound: Callable[..., Site], binding: TokenBinding
) -> None:
    make_bound().bound("another")
    page = operator.get(BINDINGS).content.decode()
    assert f'<form method="post" action="{BINDINGS}find/">' in page

    answer = operator.post(f"{BINDINGS}find/", {"value": CANARY})

    assert (answer.status_code, answer["Location"]) == (302, f"{BINDINGS}?q={binding.reference}")
    assert list(operator.get(answer["Location"]).context["cl"].result_list) == [binding]


@pytest.mark.parametrize("value", ["no such id", " " + CANARY, CANARY[:-1], "\0", "x" * 1000, "🐤"])
def test_what_is_not_found_is_not_in_an_address_either(
    operator: Client, binding: TokenBinding, value: str
) -> None:
    answer = operator.post(f"{BINDINGS}find/", {"value": value})

    assert answer["Location"] == f"{BINDINGS}?q={binding_reference(value)}"
    assert operator.get(answer["Location"]).context["cl"].result_count == 0


def test_a_reference_is_found_there_too(operator: Client, binding: TokenBinding) -> None:
    answer = operator.post(f"{BINDINGS}find/", {"value": binding.reference}, follow=True)

    assert list(answer.context["cl"].result_list) == [binding]


def test_filters_stay_and_pages_do_not(operator: Client, binding: TokenBinding) -> None:
    page = operator.get(BINDINGS, {"live": "yes", "q": "alice"}).content.decode()
    assert f'action="{BINDINGS}find/?live=yes&amp;q=alice"' in page

    answer = operator.post(f"{BINDINGS}find/?live=yes&q=alice&p=2", {"value": CANARY})

    assert answer["Location"] == f"{BINDINGS}?live=yes&q={binding.reference}"


@pytest.mark.parametrize("form", [{}, {"value": ""}])
def test_nothing_finds_all(operator: Client, binding: TokenBinding, form: dict[str, str]) -> None:
    assert operator.post(f"{BINDINGS}find/", form)["Location"] == BINDINGS
    assert operator.get(f"{BINDINGS}find/")["Location"] == BINDINGS


def test_who_may_not_look_finds_nothing(binding: TokenBinding) -> None:
    assert staff("view_binding_value").post(f"{BINDINGS}find/", {"value": CANARY}).status_code == 403


def test_the_box_for_words_does_not_find_by_it(operator: Client, binding: TokenBinding) -> None:
    assert operator.get(BINDINGS, {"q": CANARY}).context["cl"].result_count == 0


@pytest.mark.parametrize(("page", "form"), [("find/", {"value": CANARY}), ("{pk}/value/", {})])
def test_an_error_report_does_not_have_it(
    operator: Client,
    binding: TokenBinding,
    page: str,
    form: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def break_down(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Something is broken.")

    monkeypatch.setattr("oauth_binding.console.bindings.binding_reference", break_down)
    monkeypatch.setattr("oauth_binding.console.bindings.binding_label", break_down)
    operator.raise_request_exception = False
    with mailing():
        answer = operator.post(BINDINGS + page.format(pk=binding.pk), form)
        assert answer.status_code == 500

    assert CANARY not in mailed(of="Something is broken.")


def test_tokens_link_to_their_binding_by_its_label(operator: Client, binding: TokenBinding) -> None:
    assert AccessToken.objects.get().created <= timezone.now()

    page = operator.get("/admin/oauth2_provider/accesstoken/").content.decode()

    assert f"{BINDINGS}{binding.pk}/change/" in page
    assert f">{binding.reference[:12]}</a>" in page
