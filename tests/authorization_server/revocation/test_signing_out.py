"""Signing a user out everywhere, and what else ends all that a user holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from oauth2_provider.models import get_grant_model

from oauth_binding.authorization_server.revocation.feed import read_suspended
from oauth_binding.devices import device_id_of, sign_out_everywhere
from oauth_binding.models import CodeContext
from oauth_binding.signals import user_signed_out
from oauth_binding.storage.ending import ended
from tests.helpers.client import PASSWORD, Site
from tests.helpers.rows import access_token_row

Capture = Callable[..., AbstractContextManager[Any]]


def test_one_device_can_be_kept(make_bound: Callable[..., Site], make_site: Callable[..., Site]) -> None:
    bound, unbound = make_bound(), make_site()
    assert bound.user is not None
    phone, laptop = bound.bound("phone"), bound.bound("laptop")
    elsewhere, narrow = unbound.token(), bound.bound("phone", scope="read")

    assert sign_out_everywhere(bound.user, keep=device_id_of(access_token_row(phone.access))) == 2

    assert [bound.active(pair.access) for pair in (phone, narrow, laptop, elsewhere)] == [
        True,
        True,
        False,
        False,
    ]
    assert sign_out_everywhere(bound.user) == 1
    assert not bound.active(phone.access)


def test_what_is_bound_to_nothing_can_be_kept(
    make_bound: Callable[..., Site], make_site: Callable[..., Site]
) -> None:
    bound, unbound = make_bound(), make_site()
    assert bound.user is not None
    phone, kept = bound.bound("phone"), unbound.token()

    sign_out_everywhere(bound.user, keep=device_id_of(access_token_row(kept.access)))

    assert (bound.active(phone.access), bound.active(kept.access)) == (False, True)


def test_a_device_of_somebody_else_keeps_nothing(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    assert site.user is not None
    phone = site.bound("phone")

    assert sign_out_everywhere(site.user, keep="binding-0") == 1
    assert not site.active(phone.access)


def test_what_has_ended_has_ended_long_ago(make_bound: Callable[..., Site]) -> None:
    """By every clock, also one that is far behind, and when it was is still known."""
    site = make_bound("jwt")
    assert site.user is not None
    pair = site.bound("phone")

    sign_out_everywhere(site.user)

    row = access_token_row(pair.access)
    assert row.expires == ended()
    assert row.expires.year == 1970
    assert timezone.now() - row.updated < timedelta(minutes=1)


@pytest.fixture
def told(django_capture_on_commit_callbacks: Capture) -> Any:
    """Return what the signal has said: users and causes."""
    entries: list[tuple[str, str]] = []

    def receive(sender: Any, user: Any, cause: str, **_more: Any) -> None:
        assert sender is User
        entries.append((user.username, cause))

    user_signed_out.connect(receive)
    yield entries
    user_signed_out.disconnect(receive)


def test_the_signal_says_why(
    make_bound: Callable[..., Site], told: list[Any], django_capture_on_commit_callbacks: Capture
) -> None:
    site = make_bound()
    user = site.user
    assert user is not None

    def change_password() -> None:
        user.set_password(PASSWORD)
        user.save()

    def deactivate() -> None:
        user.is_active = False
        user.save()

    for event in (lambda: sign_out_everywhere(user), change_password, deactivate, deactivate):
        if user.is_active:
            site.bound("phone")
        with django_capture_on_commit_callbacks(execute=True):
            event()

    assert told == [
        ("alice", "sign_out_everywhere"),
        ("alice", "password_change"),
        ("alice", "deactivation"),
    ], "the last one had nothing to end"


@pytest.mark.parametrize(
    "save",
    [
        lambda user: user.save(),
        lambda user: user.save(update_fields=["last_login"]),
        lambda user: user.check_password(PASSWORD),
    ],
    ids=["another field", "only another field", "a login"],
)
def test_saving_a_user_is_no_event(make_bound: Callable[..., Site], save: Callable[[User], Any]) -> None:
    site = make_bound()
    pair = site.bound("phone")

    save(User.objects.get(username="alice"))

    assert site.active(pair.access)


def test_a_hash_that_is_renewed_at_login_signs_nobody_out(make_bound: Callable[..., Site]) -> None:
    """As after an upgrade of Django, which hashes passwords more slowly each time."""
    site = make_bound()
    pair = site.bound("phone")
    hashers = [
        "django.contrib.auth.hashers.PBKDF2PasswordHasher",
        "django.contrib.auth.hashers.MD5PasswordHasher",
    ]
    old_hash = User.objects.get(username="alice").password
    with override_settings(PASSWORD_HASHERS=hashers):
        laptop = site.bound("laptop")

    assert User.objects.get(username="alice").password != old_hash
    assert site.active(pair.access)
    assert site.active(laptop.access)


def test_a_password_that_was_not_saved_is_no_event(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    pair = site.bound("phone")
    user = User.objects.get(username="alice")

    user.set_password("another correct horse")
    user.save(update_fields=["email"])

    assert site.active(pair.access)


def test_a_password_that_is_written_by_sql_ends_nothing(make_bound: Callable[..., Site]) -> None:
    """Whoever writes it so calls sign_out_everywhere()."""
    site = make_bound()
    pair = site.bound("phone")

    User.objects.filter(username="alice").update(password=make_password("another correct horse"))

    assert site.active(pair.access)


def test_clearbindings_ends_what_users_hold_who_are_not_active(
    make_bound: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_bound("jwt")
    bob = User.objects.create_user("bob", password=PASSWORD)
    pair, theirs = site.bound("phone"), Site(site.application, bob).bound("phone")
    alice = User.objects.filter(username="alice")
    alice.update(is_active=False)

    call_command("clearbindings", "--dry-run")
    assert "The tokens of 1 users who are not active would be ended" in capsys.readouterr().out
    alice.update(is_active=True)
    assert site.active(pair.access), "nothing has happened yet"
    alice.update(is_active=False)
    call_command("clearbindings")
    assert "The tokens of 1 users who are not active ended" in capsys.readouterr().out

    alice.update(is_active=True)
    assert not site.active(pair.access)
    assert site.refresh(pair.refresh).status == 400
    assert site.active(theirs.access)
    call_command("clearbindings")
    assert "not active" not in capsys.readouterr().out


def test_clearbindings_forgets_what_codes_were_redeemed_for(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque", "authorization_code")
    form = [*site.grant(), ("tokenBindingId", "phone")]
    pair = site.post("/oauth2/token/", form)
    call_command("clearbindings")
    assert CodeContext.objects.count() == 1
    CodeContext.objects.update(created=timezone.now() - timedelta(days=1))

    call_command("clearbindings")

    assert not CodeContext.objects.exists()
    assert site.post("/oauth2/token/", form).status == 400
    assert site.active(pair.access)


@pytest.mark.parametrize("binding", ["none", "client-request"])
class TestReplayedCodes:
    """RFC 6749 section 4.1.2: what a code was redeemed for ends when the code comes again."""

    def test_it_ends_what_it_was_refreshed_to(self, make_site: Callable[..., Site], binding: str) -> None:
        site = make_site("authorization_code", token_binding_type=binding)
        form = site.authorization_code()
        refreshed = site.refresh(site.post("/oauth2/token/", form).refresh)

        assert site.post("/oauth2/token/", form).status == 400

        assert not site.active(refreshed.access)
        assert site.refresh(refreshed.refresh).status == 400

    def test_it_ends_what_was_answered_again(self, make_site: Callable[..., Site], binding: str) -> None:
        site = make_site("authorization_code", token_binding_type=binding)
        earlier = site.bound("phone")
        form = {**site.authorization_code(), "tokenBindingId": "phone"}
        answer = site.post("/oauth2/token/", form)
        assert (answer.access == earlier.access) is (binding == "client-request")

        assert site.post("/oauth2/token/", form).status == 400

        assert not site.active(answer.access)
        assert site.active(earlier.access) is (binding == "none")

    @pytest.mark.parametrize("verifier", ["y" * 43, "", None])
    def test_not_without_the_right_code_verifier(
        self, make_site: Callable[..., Site], binding: str, verifier: str | None
    ) -> None:
        site = make_site("authorization_code", token_binding_type=binding)
        form = site.authorization_code()
        pair = site.post("/oauth2/token/", form)
        form.pop("code_verifier")

        replay = form if verifier is None else {**form, "code_verifier": verifier}
        assert site.post("/oauth2/token/", replay).status == 400

        assert site.active(pair.access)

    def test_not_on_the_word_of_another_client(self, make_site: Callable[..., Site], binding: str) -> None:
        site = make_site("authorization_code", token_binding_type=binding)
        form = site.authorization_code()
        pair = site.post("/oauth2/token/", form)

        assert make_site("authorization_code").post("/oauth2/token/", form).status == 400

        assert site.active(pair.access)

    def test_a_code_is_not_kept(self, make_site: Callable[..., Site], binding: str) -> None:
        site = make_site("authorization_code", token_binding_type=binding)
        form = site.authorization_code()
        assert form["code"] not in {context.digest for context in CodeContext.objects.all()}
        site.post("/oauth2/token/", form)

        assert not get_grant_model().objects.exists()


def test_the_feed_names_live_jwts_of_users_who_are_not_active(make_bound: Callable[..., Site]) -> None:
    site, opaque = make_bound("jwt"), make_bound()
    bob = User.objects.create_user("bob", password=PASSWORD)
    pair = site.bound("phone")
    opaque.bound("phone")
    Site(site.application, bob).bound("phone")
    assert _suspended() == {}

    User.objects.filter(username="alice").update(is_active=False)

    assert _suspended() == {pair.claims["jti"]: pair.claims["exp"]}
    assert _suspended(timedelta(hours=2)) == {}


def _suspended(later: timedelta = timedelta()) -> dict[str, int]:
    suspended = read_suspended(timezone.now() + later)
    named: dict[str, int] = {}
    for hour in suspended.states:
        named |= suspended.read_piece(hour, 3600, timezone.now())[0]
    return named
