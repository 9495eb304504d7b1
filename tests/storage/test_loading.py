"""Rows that are dumped and loaded into another database: a device stays one, and its slot has one token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from oauth2_provider.models import get_access_token_model, get_application_model

from oauth_binding.models import CodeContext, TokenBinding, TokenExchange
from oauth_binding.storage.ending import ended
from tests.helpers.client import PASSWORD, Site
from tests.helpers.exchange import allow, exchange

pytestmark = pytest.mark.django_db(transaction=True, reset_sequences=True)

NATURAL: dict[str, dict[str, bool]] = {
    "no natural keys": {},
    "natural foreign keys": {"use_natural_foreign_keys": True},
    "natural primary keys": {"use_natural_primary_keys": True},
    "both": {"use_natural_foreign_keys": True, "use_natural_primary_keys": True},
}

DEVICES = ("phone", "tablet", None)


def move(path: Path, natural: str, *, first: tuple[str, ...] = (), strangers: bool) -> None:
    """Dump the database, and load it into a fresh one.

    :param natural: which natural keys are in it.
    :param first: the apps that are loaded first; without any, all at once.
    :param strangers: whether there are users and applications already, who have the primary keys.
    """
    left_out = ["contenttypes", "auth.permission", "sessions"]
    files = []
    for number, apps in enumerate([first, ()] if first else [()]):
        files.append(str(path / f"{number}.json"))
        excluded = [*left_out, *(first if number else ())]
        call_command("dumpdata", *apps, exclude=excluded, output=files[-1], **NATURAL[natural])
    call_command("flush", interactive=False, verbosity=0)
    if strangers:
        for name in ("mallory", "oscar", "trudy"):
            User.objects.create_user(name)
            get_application_model().objects.create(
                client_type="public", authorization_grant_type="password", name=name
            )
    for file in files:
        call_command("loaddata", file, verbosity=0)


#: (the natural keys, what is loaded first)
ORDERS: list[tuple[str, tuple[str, ...]]] = [
    *((name, ()) for name in NATURAL),
    ("both", ("auth", "oauth2_provider")),
    ("both", ("auth", "oauth2_provider.application", "oauth_binding")),
]


@pytest.mark.parametrize(("natural", "first"), ORDERS)
def test_devices_stay_whole(
    make_bound: Callable[..., Site], user: User, tmp_path: Path, natural: str, first: tuple[str, ...]
) -> None:
    bob = User.objects.create_user("bob", password=PASSWORD)
    opaque, jwt = make_bound("opaque").application, make_bound("jwt").application
    sites = {who.username: (Site(opaque, who), Site(jwt, who)) for who in (user, bob)}
    before = {
        (name, device): (of_opaque.bound(device), of_jwts.bound(device))
        for name, (of_opaque, of_jwts) in sites.items()
        for device in DEVICES
    }
    count = TokenBinding.objects.count()

    move(tmp_path, natural, first=first, strangers=natural == "both")

    assert (User.objects.get(username="bob").pk == bob.pk) is (natural != "both")
    assert not get_access_token_model().objects.filter(slot__startswith="~").exists()
    for (name, device), (pair, signed) in before.items():
        of_opaque, of_jwts = sites[name]
        again, renewed = of_opaque.bound(device), of_jwts.bound(device)
        assert (again.access, again.refresh) == (pair.access, pair.refresh)
        assert of_opaque.introspect(again.access)["sub"] == str(User.objects.get(username=name).pk)
        assert [of_jwts.active(token.access) for token in (signed, renewed)] == [False, True]
    assert TokenBinding.objects.count() == count


def test_an_exchange_stays_one(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], tmp_path: Path
) -> None:
    mobile = make_bound("opaque")
    backend = make_site(
        "client_credentials",
        as_user=None,
        token_binding_type="client-request",
        additional_grant_types="token-exchange",
    )
    allow(backend, mobile, refresh_tokens=True)
    phone = mobile.bound("phone")
    exchanged = exchange(backend, phone.access)

    move(tmp_path, "both", strangers=True)

    assert exchange(backend, phone.access).access == exchanged.access
    assert TokenExchange.objects.count() == 1
    mobile.revoke(phone.access)
    assert not backend.active(exchanged.access)


def test_a_replayed_code_ends_what_it_was_redeemed_for(
    make_bound: Callable[..., Site], tmp_path: Path
) -> None:
    site = make_bound("jwt", "authorization_code")
    form = {**site.authorization_code(), "tokenBindingId": "phone"}
    pair = site.post("/oauth2/token/", form)

    move(tmp_path, "both", strangers=True)
    assert CodeContext.objects.get().user.username == "alice"
    assert site.active(pair.access)

    assert site.post("/oauth2/token/", form)["error"] == "invalid_grant"
    assert not site.active(pair.access)


@pytest.mark.parametrize("first", [first for _natural, first in ORDERS[3:]])
def test_what_has_ended_stays_so_and_what_was_narrowed_keeps_its_slot(
    make_bound: Callable[..., Site], tmp_path: Path, first: tuple[str, ...]
) -> None:
    site = make_bound("opaque")
    phone, tablet = site.bound("phone"), site.bound("tablet")
    site.revoke(tablet.access)
    rows = get_access_token_model().objects
    rows.filter(binding__binding_value="phone").update(scope="read")
    slots = set(rows.values_list("pk", "slot"))

    move(tmp_path, "no natural keys", first=first, strangers=False)

    assert set(rows.values_list("pk", "slot")) == slots
    assert site.bound("phone").access == phone.access
    assert rows.get(binding__binding_value="tablet").expires == ended()
    assert not site.active(tablet.access)


def test_of_two_tokens_that_would_have_a_slot_one_has_it(
    make_bound: Callable[..., Site], tmp_path: Path
) -> None:
    site = make_bound("opaque")
    narrow, wide = site.bound("phone", scope="read"), site.bound("phone")
    rows = get_access_token_model().objects
    rows.filter(token=wide.access).update(scope="read")

    move(tmp_path, "both", strangers=True)

    assert rows.filter(slot__isnull=False).count() == 1
    assert site.bound("phone", scope="read").access in {narrow.access, wide.access}
