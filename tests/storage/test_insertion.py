"""Rows that are inserted in SQL that is written once, and the signals that sites hear."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import time_machine
from django.db import IntegrityError, connection, models, transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding
from oauth_binding.storage import insertion
from tests.helpers.client import Site
from tests.helpers.orm_forms import Undone, orm_form, rows_of

MODELS = (get_access_token_model(), get_refresh_token_model())


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound()


@contextmanager
def heard(*models_: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield what receivers of the signals of saving are told, with the primary key as it was then."""
    told: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        told.append({**kwargs, "had_key": kwargs["instance"].pk is not None})

    for signal in (pre_save, post_save):
        for model in models_:
            signal.connect(receive, sender=model)
    try:
        yield told
    finally:
        for signal in (pre_save, post_save):
            for model in models_:
                signal.disconnect(receive, sender=model)


def a_pair(site: Site) -> list[Any]:
    """Return an access token that is not saved, with a value in each column, and its refresh token."""
    access_model, refresh_model = MODELS
    binding = TokenBinding.objects.get(binding_value="phone")
    both: dict[str, Any] = {
        "user": site.user,
        "application": site.application,
        "binding": binding,
        "resource": ["https://api.example"],
        "token_seed": "seed",
        "binding_confirmation": "jkt:key",
        "binding_login_started": timezone.now(),
    }
    access = access_model(
        **both, token="new", scope="read", expires=timezone.now() + timedelta(hours=1), slot="1" * 64, jti="1"
    )
    family = UUID(int=1)
    return [access, refresh_model(**both, token="new", access_token=access, token_family=family)]


def left_by(save: Callable[[Any], object], site: Site) -> tuple[Any, ...]:
    """Return the rows of tokens after a pair was saved, what was heard, and in which state the pair was."""
    pair = a_pair(site)
    state: list[Any] = []
    try:
        with transaction.atomic(), heard(*MODELS) as told:
            for row in pair:
                if row is pair[1]:
                    row.access_token = pair[0]
                save(row)
                state.append((row.pk is not None, row._state.adding, row._state.db))
            left = [rows_of(model) for model in MODELS]
            assert [rows[-1]["id"] for rows in left] == [row.pk for row in pair]
            raise Undone
    except Undone:
        pass
    said = [{name: value for name, value in each.items() if name != "instance"} for each in told]
    # A sequence goes on from one to the next.
    return [[{**row, "id": 0, "access_token_id": 0} for row in rows] for rows in left], said, state


def test_saving_a_new_row(site: Site) -> None:
    site.bound("phone")
    with time_machine.travel("2040-05-06 07:08:09Z", tick=False):
        rows, said, state = left_by(insertion.save_new, site)
        assert (rows, said, state) == left_by(orm_form(insertion.save_new), site)
    assert [each["had_key"] for each in said] == [False, True] * 2
    assert state == [(True, False, "default")] * 2


def test_a_login_is_heard(site: Site) -> None:
    """What a site listens to: the tokens of a new device, before and after they are saved."""
    with heard(*MODELS) as told:
        token = site.bound("phone")

    access, refresh = MODELS
    assert [(each["sender"], each["signal"], each.get("created")) for each in told] == [
        (access, pre_save, None),
        (access, post_save, True),
        (refresh, pre_save, None),
        (refresh, post_save, True),
    ]
    assert {each["instance"].binding.binding_value for each in told} == {"phone"}
    assert told[1]["instance"] == access.objects.get(token=token.access)


def test_what_a_receiver_changes_is_saved(site: Site) -> None:
    def narrow(instance: Any, **kwargs: Any) -> None:
        instance.scope = "write"

    pre_save.connect(narrow, sender=MODELS[0])
    try:
        site.bound("phone")
    finally:
        pre_save.disconnect(narrow, sender=MODELS[0])

    assert MODELS[0].objects.get(binding__binding_value="phone").scope == "write"


@pytest.mark.parametrize("way", ["save", "save_base"])
def test_a_model_with_its_own_way_is_saved_in_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    saved: list[Any] = []
    own = getattr(models.Model, way)

    def noting(row: Any, *args: Any, **kwargs: Any) -> None:
        saved.append(type(row))
        own(row, *args, **kwargs)

    for model in MODELS:
        monkeypatch.setattr(model, way, noting)

    site.bound("phone")

    assert saved == list(MODELS)


def test_a_second_row_with_a_unique_value_is_refused(site: Site) -> None:
    site.bound("phone")
    access = a_pair(site)[0]
    access.slot = MODELS[0].objects.get(binding__binding_value="phone").slot

    with pytest.raises(IntegrityError), transaction.atomic():
        insertion.save_new(access)


@pytest.mark.parametrize("binding_value", ["phone", "laptop"])
def test_creating_or_updating(site: Site, binding_value: str) -> None:
    site.bound("phone")
    updated = ("last_used", "may_be_live")
    forms = (insertion.create_or_update, orm_form(insertion.create_or_update))
    left: list[Any] = []
    with time_machine.travel("2040-05-06 07:08:09Z", tick=False):
        for form in forms:
            binding = TokenBinding.identify(site.application, site.user, "client-request", binding_value)
            binding.may_be_live = False
            try:
                with transaction.atomic():
                    created = form(connection.alias, binding, "key", updated, "created")
                    row = TokenBinding.objects.get(key=binding.key)
                    assert created == row.created
                    assert form is not insertion.create_or_update or binding.pk == row.pk
                    assert not binding._state.adding
                    left.append([{**row, "id": 0} for row in rows_of(TokenBinding)])
                    raise Undone
            except Undone:
                pass
    assert left[0] == left[1]
    (row,) = [row for row in left[0] if row["binding_value"] == binding_value]
    assert (row["may_be_live"], row["last_used"].year) == (False, 2040)
    assert row["created"].year == (2040 if binding_value == "laptop" else timezone.now().year)
