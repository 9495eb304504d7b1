"""The device grant (RFC 8628): codes, addresses, and polling that is answered at its pace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from django.test import override_settings
from django.utils import timezone
from oauth2_provider.models import get_device_grant_model

from oauth_binding.storage import codes
from tests.helpers.bad_input import TOKEN
from tests.helpers.client import SECRET, Answer, Site
from tests.helpers.provider import provider

DEVICE_AUTHORIZATION: Final = "/oauth2/device-authorization/"
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound(grant_type=DEVICE_GRANT)


def poll(site: Site, device_code: str, **form: str) -> Answer:
    authenticate = "client_id" not in form
    form = {"grant_type": DEVICE_GRANT, "device_code": device_code, **form}
    return site.post(TOKEN, form, authenticate=authenticate)


def row(started: Answer) -> Any:
    return get_device_grant_model().objects.get(device_code=started["device_code"])


class TestAsking:
    """Section 3.1 and 3.2."""

    def test_an_answer(self, site: Site) -> None:
        started = site.post(DEVICE_AUTHORIZATION, {"scope": "read"})

        assert started.status == 200
        assert started.headers["Cache-Control"] == "no-store"
        assert started["verification_uri"] == "http://testserver/oauth2/device/"
        page = f"http://testserver/oauth2/device/?user_code={started['user_code']}"
        assert started["verification_uri_complete"] == page
        assert site.http.get(page).status_code == 302  # to the login
        assert (started["expires_in"], started["interval"]) == (1800, 5)
        assert started.data.keys() == {
            *("device_code", "user_code", "expires_in", "interval"),
            *("verification_uri", "verification_uri_complete"),
        }
        grant = row(started)
        assert (grant.scope, grant.interval) == ("read", 5)
        assert grant.client_id == site.application.client_id

    @pytest.mark.parametrize(
        ("entries", "page", "complete"),
        [
            ({"OAUTH_DEVICE_VERIFICATION_URI": "https://tv.example/go"}, "https://tv.example/go", None),
            ({"OAUTH_DEVICE_VERIFICATION_URI": "/go"}, "http://testserver/go", None),
            (
                {
                    "OAUTH_DEVICE_VERIFICATION_URI": "/go",
                    "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": "/go/{user_code}",
                },
                "http://testserver/go",
                "http://testserver/go/CODE",
            ),
            (
                {
                    "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": lambda code: f"https://tv.example/{code}",
                    "OIDC_ISS_ENDPOINT": "https://id.example/oauth2",
                },
                "https://id.example/oauth2/device/",
                "https://tv.example/CODE",
            ),
        ],
    )
    def test_the_pages_address_is_absolute(
        self, site: Site, entries: dict[str, Any], page: str, complete: str | None
    ) -> None:
        with provider(**entries, OAUTH_DEVICE_USER_CODE_GENERATOR=lambda: "CODE", DEVICE_FLOW_INTERVAL=7):
            started = site.start_device()

        assert (started["verification_uri"], started.data.get("verification_uri_complete")) == (
            page,
            complete,
        )
        assert (started["user_code"], started["interval"], row(started).interval) == ("CODE", 7, 7)

    @override_settings(ROOT_URLCONF="tests.sites.without_pages_urls")
    def test_without_a_page(self, site: Site) -> None:
        refused = site.post(DEVICE_AUTHORIZATION, {})

        assert (refused.status, refused["error"]) == (503, "server_error")
        assert not get_device_grant_model().objects.exists()
        with provider(OAUTH_DEVICE_VERIFICATION_URI="https://tv.example/go"):
            assert site.post(DEVICE_AUTHORIZATION, {}).status == 200

    def test_ways_to_name_the_client(self, site: Site, make_site: Callable[..., Site]) -> None:
        named = {"client_id": site.application.client_id}
        for form, authenticate in (
            ({}, True),
            (named, True),
            ({**named, "client_secret": SECRET}, False),
        ):
            assert site.post(DEVICE_AUTHORIZATION, form, authenticate=authenticate).status == 200
        # Without parameters, there need not be a body.
        bare = site.http.generic("POST", DEVICE_AUTHORIZATION, headers=site.basic())
        assert bare.status_code == 200

        public = make_site(DEVICE_GRANT, client_type="public")
        named = {"client_id": public.application.client_id}
        assert public.post(DEVICE_AUTHORIZATION, named, authenticate=False).status == 200
        public.secret = ""
        assert public.post(DEVICE_AUTHORIZATION, {}).status == 200

    def test_who_may_not_ask(self, site: Site, make_site: Callable[..., Site]) -> None:
        named = {"client_id": site.application.client_id}
        for form in ({}, named, {**named, "client_secret": "wrong"}, {"client_id": "nobody"}):
            refused = site.post(DEVICE_AUTHORIZATION, form, authenticate=False)
            assert (refused.status, refused["error"]) == (401, "invalid_client")
        other = make_site("password")
        refused = other.post(DEVICE_AUTHORIZATION, {})
        assert (refused.status, refused["error"]) == (400, "unauthorized_client")
        assert not get_device_grant_model().objects.exists()


class TestAnswers:
    """Section 3.5."""

    def test_the_client_authenticates_itself_first(self, site: Site, make_site: Callable[..., Site]) -> None:
        started = site.start_device()
        noted = row(started).interval, row(started).last_checked

        for code in (started["device_code"], "unknown"):
            for secret in ({}, {"client_secret": "wrong"}):
                refused = poll(site, code, client_id=site.application.client_id, **secret)
                assert (refused.status, refused["error"]) == (401, "invalid_client")
        # Another client learns nothing of a code, and takes nothing from who has it.
        other = make_site(DEVICE_GRANT)
        for code in (started["device_code"], "unknown"):
            refused = poll(other, code)
            assert (refused.status, refused["error"]) == (400, "invalid_grant")
        assert (row(started).interval, row(started).last_checked) == noted
        assert poll(site, started["device_code"])["error"] == "authorization_pending"

    def test_decisions(self, site: Site) -> None:
        started = site.start_device()
        pending = poll(site, started["device_code"])
        assert (pending.status, pending["error"]) == (400, "authorization_pending")
        assert pending.headers["Cache-Control"] == "no-store"

        site.accept_device(started["user_code"])
        # However soon: there is nothing to wait for any more.
        assert poll(site, started["device_code"]).status == 200
        assert poll(site, started["device_code"])["error"] == "expired_token"

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"status": "denied"}, "access_denied"),
            ({"status": "expired"}, "expired_token"),
            ({"expires": timezone.now() - timedelta(seconds=1)}, "expired_token"),
        ],
    )
    def test_codes_that_are_done(self, site: Site, changes: dict[str, Any], error: str) -> None:
        started = site.start_device()
        get_device_grant_model().objects.update(**changes)

        for _ in range(3):
            refused = poll(site, started["device_code"])
            assert (refused.status, refused["error"]) == (400, error)


class Clock:
    """The server's clock, as far as polling goes."""

    def __init__(self) -> None:
        self.now = timezone.now()

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timezone, "now", lambda: clock.now)
    return clock


class TestSlowDown:
    """Section 3.5: whoever polls too early has to wait for five seconds more from then on."""

    def asked(self, site: Site, started: Answer) -> str:
        return str(poll(site, started["device_code"])["error"])

    def test_a_patient_device(self, site: Site, clock: Clock) -> None:
        started = site.start_device()

        # Also at once, and with a network that is not always equally slow.
        for seconds in (0, 5, 4.5, 5.5, 30):
            clock.wait(seconds)
            assert self.asked(site, started) == "authorization_pending"
        assert row(started).interval == 5

    def test_a_hasty_device(self, site: Site, clock: Clock) -> None:
        started = site.start_device()
        told = []
        for seconds in (0, 2, 6, 10, 5, 10, 20):
            clock.wait(seconds)
            told.append((self.asked(site, started), row(started).interval))

        assert told == [
            ("authorization_pending", 5),
            ("slow_down", 10),
            ("slow_down", 15),  # 8 seconds after the first
            ("authorization_pending", 15),  # 18 seconds after it
            ("slow_down", 20),
            ("slow_down", 25),
            ("authorization_pending", 25),  # 35 seconds after the one before
        ]

    def test_who_bursts_locks_nobody_out(self, site: Site, clock: Clock) -> None:
        started = site.start_device()
        for _ in range(30):
            clock.wait(0.1)
            self.asked(site, started)

        # It is bounded, and what came too early does not begin it anew.
        assert row(started).interval == codes.LONGEST_INTERVAL
        clock.wait(codes.LONGEST_INTERVAL)
        assert self.asked(site, started) == "authorization_pending"
        # Nor does anybody else's haste keep the answer from the device.
        for _ in range(3):
            assert self.asked(site, started) == "slow_down"
        site.accept_device(started["user_code"])
        assert poll(site, started["device_code"]).status == 200

    def test_a_clock_that_was_ahead(self, site: Site, clock: Clock) -> None:
        started = site.start_device()
        clock.wait(600)
        assert self.asked(site, started) == "authorization_pending"

        clock.wait(-600)
        assert self.asked(site, started) == "authorization_pending"
