"""Signing a device out, and forgetting devices that are gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from oauth2_provider.models import clear_expired

from oauth_binding.authorization_server import revoke_binding
from oauth_binding.management.commands import clearbindings
from oauth_binding.models import TokenBinding
from tests.helpers.client import Site
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire

TOKEN_TYPES = ("opaque", "jwt")


def binding_of(token: str) -> TokenBinding:
    binding: TokenBinding = access_token_row(token).binding
    return binding


@pytest.mark.parametrize("grace_period", [0, 60])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_signing_a_device_out_ends_all_its_tokens_and_no_others(
    make_bound: Callable[..., Site], token_type: str, grace_period: int
) -> None:
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=grace_period):
        laptop, shared = site.bound("laptop"), site.bound(None)
        old = site.bound("phone")
        phone = [site.refresh(old.refresh), site.bound("phone", scope="read")]
        expired = site.bound("phone", scope="write")
        expire(expired.access)

        revoke_binding(binding_of(phone[0].access))

        for answer in [old, *phone, expired]:
            assert not site.active(answer.access)
            assert site.refresh(answer.refresh).status == 400
        for other in (laptop, shared):
            assert site.active(other.access)
            assert site.refresh(other.refresh).status == 200
        again = site.bound("phone")
        assert again.access not in {answer.access for answer in phone}
        assert site.active(again.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_replay_does_not_sign_in_again(make_bound: Callable[..., Site], token_type: str) -> None:
    """Where access tokens live shorter than the grace period, what a replay continues may have expired."""
    site = make_bound(token_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=60):
        first = site.bound("phone")
        second = site.refresh(first.refresh)
        expire(second.access)

        revoke_binding(binding_of(second.access))

        assert site.refresh(first.refresh).status == 400
        assert site.refresh(second.refresh).status == 400


def clear(*arguments: str) -> str:
    output = StringIO()
    call_command("clearbindings", *arguments, stdout=output, no_color=True)
    return output.getvalue()


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    """A site with devices that were last used long ago: one without tokens, one with a live refresh token."""
    site = make_bound()
    gone, signed_in, used = site.bound("gone"), site.bound("signed in"), site.bound("used")
    site.revoke(gone.access)
    expire(signed_in.access)
    site.revoke(used.access)
    clear_expired()
    long_ago = timezone.now() - timedelta(days=91)
    TokenBinding.objects.exclude(binding_value="used").update(last_used=long_ago)
    return site


def devices() -> set[str]:
    return set(TokenBinding.objects.values_list("binding_value", flat=True))


def test_a_binding_without_tokens_is_forgotten_after_a_time(site: Site) -> None:
    assert "1 of 2 unused token bindings deleted." in clear()
    assert devices() == {"signed in", "used"}
    assert site.bound("gone").status == 200


def test_a_dry_run_deletes_nothing(site: Site) -> None:
    assert "1 of 2 unused token bindings would be deleted." in clear("--dry-run")
    assert devices() == {"gone", "signed in", "used"}


def test_the_time_can_be_set(site: Site) -> None:
    assert "0 of 0" in clear("--unused-for", "92")
    TokenBinding.objects.filter(binding_value="used").update(
        last_used=timezone.now() - timedelta(days=1, seconds=1)
    )
    assert "2 of 3" in clear("--unused-for", "1")
    with pytest.raises(CommandError, match="must be 1 or more"):
        clear("--unused-for", "0")


def test_it_goes_through_batches_and_says_how_far_it_is(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clearbindings, "BATCH_SIZE", 2)
    monkeypatch.setattr(clearbindings, "PROGRESS_INTERVAL", 4)
    known = TokenBinding.objects.get(binding_value="gone")
    for number in range(9):
        known.pk, known.key, known.binding_value = None, f"{number}", f"gone {number}"
        known.save(force_insert=True)
    output = clear()
    assert output.count("looked at") == 2
    assert "10 of 11 unused token bindings deleted." in output
    assert devices() == {"signed in", "used"}


def test_using_a_device_keeps_it(site: Site) -> None:
    """Also where nothing is issued: the live token is returned again."""
    for binding in ("gone", "signed in"):
        site.bound(binding)
    TokenBinding.objects.update(last_used=timezone.now() - timedelta(days=91))
    site.bound("gone")
    assert TokenBinding.objects.get(binding_value="gone").last_used > timezone.now() - timedelta(minutes=1)
