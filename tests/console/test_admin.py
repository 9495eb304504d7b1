"""The console: what operators set per application, and what they see and end."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import Application

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import TokenBinding, TokenExchangeRule
from tests.helpers.client import PASSWORD, SECRET, Site
from tests.helpers.error_reports import mailed, mailing
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider
from tests.helpers.staff import APPLICATIONS, errors, form, staff

BINDINGS = "/admin/oauth_binding/tokenbinding/"
RULES = "/admin/oauth_binding/tokenexchangerule/"

#: What bindings without a name are called.
PHONE, LAPTOP = (binding_reference(value)[:12] for value in ("phone", "laptop"))


class TestApplicationForm:
    def test_an_error_report_does_not_have_its_secret(self, operator: Client) -> None:
        operator.raise_request_exception = False
        broken = mock.patch.object(
            Application, "full_clean", side_effect=RuntimeError("Something is broken.")
        )
        with mailing(), broken:
            assert operator.post(APPLICATIONS + "add/", form()).status_code == 500

        assert SECRET not in mailed(of="Something is broken.")

    def test_an_application_made_in_the_console_issues_as_chosen(self, operator: Client, user: User) -> None:
        saved = operator.post(APPLICATIONS + "add/", form())

        assert saved.status_code == 302
        site = Site(Application.objects.get(client_id="mobile"), user)
        first, second, other = site.bound("phone"), site.bound("phone"), site.bound("laptop")
        assert not site.active(first.access)
        assert site.active(second.access)
        assert site.active(other.access)

    def test_the_form_has_sections(self, operator: Client) -> None:
        page = operator.get(APPLICATIONS + "add/")

        sections = {str(title): options["fields"] for title, options in page.context["adminform"].fieldsets}
        assert list(sections) == ["Basic details", "Protocol", "Access token", "Other"]
        assert "allowed_grant_types" in sections["Protocol"]
        assert {"token_type", "token_binding_type"} <= set(sections["Access token"])
        shown = page.content.decode()
        assert [title for title in sections if title not in shown] == []

    def test_several_grant_types_are_chosen_by_check_boxes(self, operator: Client) -> None:
        chosen = ["client-credentials", "password"]
        operator.post(APPLICATIONS + "add/", form(allowed_grant_types=chosen))

        application = Application.objects.get(client_id="mobile")
        assert sorted(application.allowed_grant_types) == sorted(chosen)
        page = operator.get(f"{APPLICATIONS}{application.pk}/change/").content.decode()
        for grant_type in chosen:
            assert f'value="{grant_type}" id=' in page.replace(" checked", "")
        assert page.count("checked") >= 2

    def test_the_primary_grant_type_stays_while_it_is_among_the_chosen(
        self, operator: Client, make_site: Callable[..., Site]
    ) -> None:
        application = make_site("password").application
        url = f"{APPLICATIONS}{application.pk}/change/"
        chosen = form(client_id=application.client_id)

        operator.post(url, {**chosen, "allowed_grant_types": ["client-credentials", "password"]})
        application.refresh_from_db()
        assert application.allowed_grant_types == ["password", "client-credentials"]

        operator.post(url, {**chosen, "allowed_grant_types": ["client-credentials"]})
        application.refresh_from_db()
        assert application.allowed_grant_types == ["client-credentials"]

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            pytest.param({"allowed_grant_types": []}, "allowed_grant_types", id="no grant type"),
            pytest.param({"allowed_grant_types": ["magic"]}, "allowed_grant_types", id="unknown grant type"),
            pytest.param(
                {"allowed_grant_types": ["password", "authorization-code"]},
                "redirect_uris",
                id="an additional grant type that needs a redirect URI",
            ),
            pytest.param(
                {"allowed_grant_types": ["implicit"], "redirect_uris": "https://client.example/"},
                "token_binding_type",
                id="binding, but only the implicit grant",
            ),
            pytest.param({"client_id": "4711"}, "client_id", id="a client id that could be a user's key"),
            pytest.param({"token_binding_type": "retina"}, "token_binding_type", id="unknown binding type"),
            pytest.param({"token_type": ""}, "token_type", id="no token type"),
        ],
    )
    def test_what_does_not_fit_is_said_at_its_field(
        self, operator: Client, fields: dict[str, Any], field: str
    ) -> None:
        page = operator.post(APPLICATIONS + "add/", form(**fields))

        assert list(errors(page)) == [field]
        assert not Application.objects.exists()

    def test_jwt_needs_a_signing_key(self, operator: Client) -> None:
        with provider(OIDC_ENABLED=False, OIDC_RSA_PRIVATE_KEY=""):
            page = operator.post(APPLICATIONS + "add/", form())
            assert list(errors(page)) == ["token_type"]
            assert operator.post(APPLICATIONS + "add/", form(token_type="opaque")).status_code == 302

    @pytest.mark.parametrize(
        ("fields", "sentence"),
        [
            ({"token_binding_type": "none"}, "Every request is answered with a new token."),
            ({"token_type": "opaque"}, "Each tokenBindingId holds one token, which is returned again"),
            ({"token_type": "jwt"}, "Each tokenBindingId holds one token; a new request replaces it"),
            ({"require_binding": "report"}, "This page says how many users sent none."),
            ({"require_binding": "yes"}, "A request without one is refused."),
        ],
    )
    def test_the_form_tells_what_the_choices_do(
        self, operator: Client, make_bound: Callable[..., Site], fields: dict[str, Any], sentence: str
    ) -> None:
        application = make_bound(**fields).application

        page = operator.get(f"{APPLICATIONS}{application.pk}/change/").content.decode()

        shown = page.partition('id="token-binding-effect" role="status">')[2].partition("</div>")[0]
        assert sentence in shown

    def test_changing_the_types_of_an_application_with_live_tokens_warns(
        self, operator: Client, make_bound: Callable[..., Site]
    ) -> None:
        site = make_bound("jwt")
        url = f"{APPLICATIONS}{site.application.pk}/change/"
        chosen = form(client_id=site.application.client_id, token_type="opaque")
        warning = "This application has live tokens."

        without_tokens = operator.post(url, chosen, follow=True)
        assert warning not in without_tokens.content.decode()
        site.bound("phone")
        assert warning in operator.get(url).content.decode()
        unchanged = operator.post(url, chosen, follow=True)
        assert warning not in unchanged.content.decode()
        changed = operator.post(url, {**chosen, "token_type": "jwt"}, follow=True)
        assert warning in changed.content.decode()

    @pytest.mark.parametrize("hashed", [True, False])
    def test_who_may_only_view_sees_no_secret(self, make_bound: Callable[..., Site], hashed: bool) -> None:
        application = make_bound(hash_client_secret=hashed, client_secret="a secret to keep").application

        page = staff("view_application").get(f"{APPLICATIONS}{application.pk}/change/").content.decode()

        application.refresh_from_db()
        assert application.name in page
        assert application.client_secret not in page
        assert "a secret to keep" not in page

    def test_who_may_only_view_sees_the_choices(self, make_bound: Callable[..., Site]) -> None:
        application = make_bound("jwt", additional_grant_types="client-credentials").application

        page = staff("view_application").get(f"{APPLICATIONS}{application.pk}/change/").content.decode()

        for shown in ("JWT", "Client request", "client-credentials", "a new request replaces it"):
            assert shown in page

    def test_the_list_shows_filters_and_finds(
        self, operator: Client, make_bound: Callable[..., Site], make_site: Callable[..., Site]
    ) -> None:
        jwt, plain = make_bound("jwt").application, make_site().application

        page = operator.get(APPLICATIONS, {"token_type": "jwt"}).content.decode()
        assert jwt.client_id in page
        assert plain.client_id not in page
        page = operator.get(APPLICATIONS, {"token_binding_type": "none"}).content.decode()
        assert jwt.client_id not in page
        assert plain.client_id in page
        page = operator.get(APPLICATIONS, {"q": jwt.client_id}).content.decode()
        assert jwt.name in page
        assert plain.client_id not in page


class TestBindings:
    @pytest.fixture
    def site(self, make_bound: Callable[..., Site]) -> Site:
        return make_bound()

    def test_the_list_shows_devices_and_no_tokens(self, operator: Client, site: Site) -> None:
        answers = [site.bound("phone"), site.bound("laptop"), site.bound(None)]

        page = operator.get(BINDINGS).content.decode()

        for shown in (PHONE, LAPTOP, "(shared)", "alice", str(site.application)):
            assert shown in page
        for answer in answers:
            assert answer.access not in page
            assert answer.refresh not in page

    def test_filters(self, operator: Client, site: Site) -> None:
        site.bound("phone")

        for parameters, number in (
            ({"binding_type": "client-request"}, 1),
            ({"unused_for": "30"}, 0),
            ({"application__id__exact": site.application.pk}, 1),
        ):
            page = operator.get(BINDINGS, parameters)
            assert page.context["cl"].result_count == number, parameters

    def test_the_titles_of_the_filters_can_be_read(self, operator: Client, site: Site) -> None:
        """Django puts "By" before each, so a title has to be what something can be sorted by."""
        site.bound("phone")

        page = operator.get(BINDINGS).content.decode()

        assert re.findall(r"<summary[^>]*>\s*By ([^<]*?)\s*</summary>", page) == [
            "binding type",
            "last use",
            "live tokens",
            "last request without a binding",
            "last API call without the binding",
            "last request without a proof",
        ]

    @pytest.mark.parametrize("kind", ["accesstoken", "refreshtoken"])
    def test_a_binding_links_to_its_tokens_and_they_link_back(
        self, operator: Client, site: Site, kind: str
    ) -> None:
        phone, _laptop = site.bound("phone"), site.bound("laptop")
        binding = TokenBinding.objects.get(binding_value="phone")
        tokens = f"/admin/oauth2_provider/{kind}/?binding__id__exact={binding.pk}"

        assert tokens in operator.get(f"{BINDINGS}{binding.pk}/change/").content.decode()
        page = operator.get(tokens)
        assert page.context["cl"].result_count == 1
        assert f"{BINDINGS}{binding.pk}/change/" in page.content.decode()
        token = page.context["cl"].result_list[0]
        detail = operator.get(f"/admin/oauth2_provider/{kind}/{token.pk}/change/").content.decode()
        assert f"{BINDINGS}{binding.pk}/change/" in detail
        for secret in (phone.access, phone.refresh):
            assert secret not in page.content.decode() + detail

    def test_revoking_one_asks_and_ends_its_tokens_only(self, operator: Client, site: Site) -> None:
        phone, laptop = site.bound("phone"), site.bound("laptop")
        binding = TokenBinding.objects.get(binding_value="phone")
        url = f"{BINDINGS}{binding.pk}/revoke/"

        assert url in operator.get(f"{BINDINGS}{binding.pk}/change/").content.decode()
        question = operator.get(url).content.decode()
        assert PHONE in question
        assert site.active(phone.access)

        assert operator.post(url).status_code == 302
        assert not site.active(phone.access)
        assert site.refresh(phone.refresh)["error"] == "invalid_grant"
        assert site.active(laptop.access)
        history = operator.get(f"{BINDINGS}{binding.pk}/history/").content.decode()
        assert f"Revoked: {site.application}, alice: {PHONE}." in history
        assert "phone" not in str(list(LogEntry.objects.values_list("object_repr", "change_message")))

    def test_it_leads_back_to_the_list_as_it_was_filtered(self, operator: Client, site: Site) -> None:
        site.bound("phone")
        shown = f"{BINDINGS}?q=alice&live=yes"
        row = re.search(rf'<a href="({BINDINGS}[0-9]+/change/[^"]*)">', operator.get(shown).content.decode())
        assert row is not None
        page = operator.get(unescape(row[1])).content.decode()
        revoke = re.search(rf'<a href="({BINDINGS}[0-9]+/revoke/[^"]*)">', page)
        assert revoke is not None

        question = operator.get(unescape(revoke[1])).content.decode()
        done = operator.post(unescape(revoke[1]))

        assert f'<a href="{shown.replace("&", "&amp;")}" class="button cancel-link">' in question
        assert done["Location"] == shown

    def test_revoking_several_by_the_action(self, operator: Client, site: Site) -> None:
        answers = {name: site.bound(name) for name in ("phone", "laptop", "tablet")}
        chosen = TokenBinding.objects.filter(binding_value__in=["phone", "laptop"])
        action = {"action": "revoke", "_selected_action": [binding.pk for binding in chosen]}

        question = operator.post(BINDINGS, action)
        assert "Yes, revoke" in question.content.decode()
        assert all(site.active(answer.access) for answer in answers.values())

        done = operator.post(BINDINGS, {**action, "confirmed": "1"}, follow=True)
        assert "2 token bindings were revoked." in done.content.decode()
        active = {name for name, answer in answers.items() if site.active(answer.access)}
        assert active == {"tablet"}
        assert LogEntry.objects.filter(content_type__model="tokenbinding").count() == 2

    def test_a_great_many_are_not_revoked_at_once(
        self, operator: Client, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("oauth_binding.console.read_only.MAX_REVOKED", 1)
        answers = [site.bound("phone"), site.bound("laptop")]
        pks = [str(pk) for pk in TokenBinding.objects.values_list("pk", flat=True)]
        action = {"action": "revoke", "confirmed": "1", "_selected_action": pks}

        page = operator.post(BINDINGS, action, follow=True).content.decode()

        assert "Select at most 1 token bindings." in page
        assert all(site.active(answer.access) for answer in answers)

    def test_who_may_view_may_not_revoke(self, site: Site) -> None:
        phone = site.bound("phone")
        binding = TokenBinding.objects.get()
        viewer = staff("view_tokenbinding")

        assert PHONE in viewer.get(BINDINGS).content.decode()
        detail = viewer.get(f"{BINDINGS}{binding.pk}/change/").content.decode()
        assert "/revoke/" not in detail
        action = {"action": "revoke", "_selected_action": [binding.pk], "confirmed": "1"}
        viewer.post(BINDINGS, action)
        assert viewer.get(f"{BINDINGS}{binding.pk}/revoke/").status_code == 403
        assert viewer.post(f"{BINDINGS}{binding.pk}/revoke/").status_code == 403
        assert site.active(phone.access)

    def test_who_may_revoke_needs_no_more(self, site: Site) -> None:
        phone = site.bound("phone")
        binding = TokenBinding.objects.get()

        assert staff("revoke_tokenbinding").post(f"{BINDINGS}{binding.pk}/revoke/").status_code == 302
        assert not site.active(phone.access)

    def test_a_stranger_sees_nothing(self, site: Site) -> None:
        site.bound("phone")
        binding = TokenBinding.objects.get()
        nobody = staff()

        for path in ("", f"{binding.pk}/change/", f"{binding.pk}/revoke/"):
            assert nobody.get(BINDINGS + path).status_code == 403

    @pytest.mark.parametrize("path", ["add/", "{pk}/delete/", "{pk}/change/"])
    def test_nothing_can_be_written(self, operator: Client, site: Site, path: str) -> None:
        site.bound("phone")
        binding = TokenBinding.objects.get()

        answer = operator.post(BINDINGS + path.format(pk=binding.pk), {"post": "yes", "name": "Changed"})

        assert answer.status_code == 403
        assert TokenBinding.objects.get().name == ""

    def test_a_binding_that_is_not_there(self, operator: Client) -> None:
        assert operator.post(f"{BINDINGS}4711/revoke/").status_code == 404
        assert operator.post(f"{BINDINGS}x/revoke/").status_code == 404

    def test_an_application_with_bindings_can_be_deleted(self, operator: Client, site: Site) -> None:
        site.bound("phone")
        url = f"{APPLICATIONS}{site.application.pk}/delete/"

        assert operator.post(url, {"post": "yes"}).status_code == 302
        assert not TokenBinding.objects.exists()

    def test_a_list_takes_the_same_number_of_queries_however_long_it_is(
        self, operator: Client, site: Site
    ) -> None:
        def number_of_queries(url: str) -> int:
            with CaptureQueriesContext(
                connection,
            ) as queries:
                assert operator.get(url).status_code == 200
            counts = [query["sql"] for query in queries if "COUNT(*)" in query["sql"].upper()]
            assert all("LIMIT" in sql.upper() for sql in counts)
            return len(queries)

        urls = [BINDINGS, *(f"/admin/oauth2_provider/{kind}/" for kind in ("accesstoken", "refreshtoken"))]
        site.bound("device 0")
        few = [number_of_queries(url) for url in urls]
        for number in range(1, 15):
            site.bound(f"device {number}")
        many = [number_of_queries(url) for url in urls]

        assert many == few


class TestTokenExchangeRules:
    @pytest.fixture
    def mobile(self, make_bound: Callable[..., Site]) -> Site:
        return make_bound(name="Mobile app", client_id="mobile-id")

    @pytest.fixture
    def backend(self, make_site: Callable[..., Site]) -> Site:
        return make_site(
            "client_credentials",
            as_user=None,
            name="Backend",
            client_id="backend-id",
            additional_grant_types="token-exchange",
        )

    def rule(self, backend: Site, mobile: Site, **fields: Any) -> dict[str, Any]:
        """Return what the form of a new rule posts; None for what is left out."""
        form = {
            "client": backend.application.pk,
            "subject_client": mobile.application.pk,
            "impersonation": "on",
            **fields,
        }
        return {name: value for name, value in form.items() if value is not None}

    def test_a_rule_made_in_the_console_allows_an_exchange(
        self, operator: Client, backend: Site, mobile: Site
    ) -> None:
        subject = mobile.bound("phone").access
        assert exchange(backend, subject).status == 400

        saved = operator.post(RULES + "add/", self.rule(backend, mobile, audiences="orders"))

        assert saved.status_code == 302
        assert exchange(backend, subject, audience="orders").status == 200
        assert exchange(backend, subject, audience="billing").status == 400

    def test_a_rule_that_is_deleted_allows_nothing_more(
        self, operator: Client, backend: Site, mobile: Site
    ) -> None:
        rule = allow(backend, mobile)
        subject = mobile.bound("phone").access
        assert exchange(backend, subject).status == 200

        assert operator.post(f"{RULES}{rule.pk}/delete/", {"post": "yes"}).status_code == 302

        assert exchange(backend, subject)["error"] == "unauthorized_client"

    def test_the_list(self, operator: Client, backend: Site, mobile: Site) -> None:
        allow(backend, mobile, audiences="https://orders.example")

        page = operator.get(RULES).content.decode()

        for shown in (str(backend.application), str(mobile.application), "https://orders.example"):
            assert shown in page

    @pytest.mark.parametrize("term", ["backend-id", "mobile-id", "Backend", "Mobile"])
    def test_search(
        self, operator: Client, backend: Site, mobile: Site, make_site: Callable[..., Site], term: str
    ) -> None:
        allow(backend, mobile)
        allow(make_site(name="Other"), make_site(name="Another"), audiences="https://other.example")

        page = operator.get(RULES, {"q": term})

        assert page.context["cl"].result_count == 1
        assert "https://other.example" not in page.content.decode()

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            pytest.param({"impersonation": None}, "impersonation", id="allows nothing"),
            pytest.param({"client": ""}, "client", id="no client"),
            pytest.param({"client": "4711"}, "client", id="unknown client"),
            pytest.param({"subject_client": ""}, "subject_issuer", id="nobody's tokens"),
            pytest.param(
                {"subject_issuer": "https://x.example"}, "subject_issuer", id="two kinds of subject"
            ),
            pytest.param(
                {"subject_client": "", "subject_issuer": "https://x.example"},
                "subject_issuer",
                id="unknown issuer",
            ),
        ],
    )
    def test_what_does_not_fit_is_said_at_its_field(
        self, operator: Client, backend: Site, mobile: Site, fields: dict[str, Any], field: str
    ) -> None:
        page = operator.post(RULES + "add/", self.rule(backend, mobile, **fields))

        assert list(errors(page)) == [field]
        assert not TokenExchangeRule.objects.exists()

    @pytest.mark.parametrize(
        "fields", [{"additional_grant_types": ""}, {"client_type": "public"}], ids=["grant type", "public"]
    )
    def test_a_client_that_may_not_exchange(
        self, operator: Client, backend: Site, mobile: Site, fields: dict[str, Any]
    ) -> None:
        Application.objects.filter(pk=backend.application.pk).update(**fields)

        page = operator.post(RULES + "add/", self.rule(backend, mobile))

        assert list(errors(page)) == ["client"]

    def test_a_public_client_has_to_prove_the_key_of_the_subject_token(
        self, operator: Client, backend: Site, mobile: Site
    ) -> None:
        unproven = self.rule(backend, mobile, accept_unproven_subject="on")
        application = Application.objects.filter(pk=backend.application.pk)

        application.update(client_type="public")
        with override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_PUBLIC_CLIENTS": True}):
            page = operator.post(RULES + "add/", unproven)
        assert list(errors(page)) == ["accept_unproven_subject"]

        application.update(client_type="confidential")
        assert operator.post(RULES + "add/", unproven).status_code == 302
        assert TokenExchangeRule.objects.get().accept_unproven_subject

    def test_one_rule_per_pair(self, operator: Client, backend: Site, mobile: Site) -> None:
        allow(backend, mobile)

        page = operator.post(RULES + "add/", self.rule(backend, mobile))

        assert "already exists" in str(errors(page))
        assert TokenExchangeRule.objects.count() == 1

    def test_who_may_only_view_changes_nothing(self, backend: Site, mobile: Site) -> None:
        viewer = staff("view_tokenexchangerule")
        rule = allow(backend, mobile)

        assert viewer.get(f"{RULES}{rule.pk}/change/").status_code == 200
        assert viewer.post(f"{RULES}{rule.pk}/change/", {"delegation": "on"}).status_code == 403
        assert viewer.post(RULES + "add/", self.rule(backend, mobile)).status_code == 403

    def test_an_application_is_allowed_token_exchange_by_a_check_box(
        self, operator: Client, mobile: Site
    ) -> None:
        page = operator.get(APPLICATIONS + "add/").content.decode()
        assert "Token exchange" in page.partition("Allowed grant types")[2]

        chosen = ["client-credentials", "token-exchange"]
        assert operator.post(APPLICATIONS + "add/", form(allowed_grant_types=chosen)).status_code == 302

        site = Site(Application.objects.get(client_id="mobile"))
        assert "Token exchange" in operator.get(APPLICATIONS).content.decode()
        allow(site, mobile)
        assert site.token().status == 200
        assert exchange(site, mobile.bound("phone").access).status == 200

    def test_an_application_with_token_exchange_only(self, operator: Client, mobile: Site) -> None:
        chosen = form(allowed_grant_types=["token-exchange"])
        assert operator.post(APPLICATIONS + "add/", chosen).status_code == 302

        application = Application.objects.get(client_id="mobile")
        assert application.allowed_grant_types == ["token-exchange"]
        site = Site(application, mobile.user)
        allow(site, mobile)
        assert exchange(site, mobile.bound("phone").access).status == 200
        url = f"{APPLICATIONS}{application.pk}/change/"
        assert 'value="token-exchange"' in operator.get(url).content.decode()
        # Saved again, it is what it was.
        assert operator.post(url, chosen).status_code == 302
        application.refresh_from_db()
        assert application.allowed_grant_types == ["token-exchange"]
        for grant in ({"grant_type": "client_credentials"}, mobile.grant()):
            assert site.post("/oauth2/token/", grant)["error"] == "unauthorized_client"


# Users


def test_an_operator_signs_users_out_everywhere(
    operator: Client, make_bound: Callable[..., Site], user: User
) -> None:
    site = make_bound()
    bob = User.objects.create_user("bob", password=PASSWORD)
    pair, theirs = site.bound("phone"), Site(site.application, bob).bound("phone")
    selected = {"action": "sign_out_users", "_selected_action": [str(user.pk)]}

    page = operator.post("/admin/auth/user/", selected)
    assert "This user will be signed out on all devices" in page.content.decode()
    assert "alice" in page.content.decode()
    assert site.active(pair.access)

    done = operator.post("/admin/auth/user/", {**selected, "confirmed": "1"}, follow=True)
    assert "1 user was signed out everywhere." in done.content.decode()
    assert (site.active(pair.access), site.active(theirs.access)) == (False, True)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(user.pk), "Signed out everywhere.")


def test_who_may_only_view_users_signs_nobody_out(make_bound: Callable[..., Site], user: User) -> None:
    site = make_bound()
    pair = site.bound("phone")
    selected = {"action": "sign_out_users", "_selected_action": [str(user.pk)], "confirmed": "1"}

    assert b"sign_out_users" not in staff("view_user").get("/admin/auth/user/").content
    client = Client()
    client.force_login(User.objects.get(username="staff"))
    client.post("/admin/auth/user/", selected)

    assert site.active(pair.access)


def test_so_many_users_at_once_are_refused(operator: Client, db: None) -> None:
    users = User.objects.bulk_create(User(username=f"user {number}") for number in range(101))
    selected = {"action": "sign_out_users", "_selected_action": [str(user.pk) for user in users]}

    answer = operator.post("/admin/auth/user/", selected, follow=True)

    assert "Select at most 100 users." in answer.content.decode()
