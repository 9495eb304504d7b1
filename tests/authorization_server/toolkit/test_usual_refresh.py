"""Whatever a site has put in the place of django-oauth-toolkit's own is asked at a refresh, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from oauth2_provider.models import get_access_token_model, get_refresh_token_model
from oauth2_provider.oauth2_validators import OAuth2Validator

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.authorization_server.toolkit import usual_refresh
from tests.helpers.client import Site
from tests.helpers.provider import provider


class Notes(OAuth2Validator):
    """A validator that others mix into theirs."""

    noted: ClassVar[list[str]] = []

    def validate_refresh_token(self, *args: Any, **kwargs: Any) -> bool:
        self.noted.append("validated")
        return bool(super().validate_refresh_token(*args, **kwargs))

    def _save_bearer_token(self, *args: Any, **kwargs: Any) -> None:
        self.noted.append("saved")
        super()._save_bearer_token(*args, **kwargs)


class MixedIn(BindingOAuth2Validator, Notes):
    pass


def refreshed(site: Site) -> Any:
    """Return the answer to a refresh, after which the pair before it is of no use."""
    first = site.token()
    answer = site.refresh(first.refresh)
    assert answer.status == 200, answer.data
    assert [site.active(each) for each in (first.access, first.refresh)] == [False, False]
    assert [site.active(each) for each in (answer.access, answer.refresh)] == [True, True]
    return answer


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_validator_that_is_mixed_in_is_asked(make_site: Callable[..., Site], token_type: str) -> None:
    site = make_site(token_type=token_type)
    with provider(OAUTH2_VALIDATOR_CLASS=MixedIn):
        token = site.token()
        Notes.noted.clear()

        assert site.refresh(token.refresh).status == 200

    assert Notes.noted == ["validated", "saved"]


def test_a_validator_that_is_mixed_in_has_the_last_word(make_bound: Callable[..., Site]) -> None:
    class Refuses(OAuth2Validator):
        def validate_refresh_token(self, *args: Any, **kwargs: Any) -> bool:
            return False

    class Mixed(BindingOAuth2Validator, Refuses):
        pass

    site = make_bound()
    with provider(OAUTH2_VALIDATOR_CLASS=Mixed):
        answer = site.refresh(site.bound("phone").refresh)

    assert (answer.status, answer["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("get_model", "method"),
    [
        (get_refresh_token_model, "revoke"),
        (get_refresh_token_model, "save"),
        (get_refresh_token_model, "save_base"),
        (get_access_token_model, "revoke"),
        (get_access_token_model, "delete"),
    ],
)
def test_a_method_of_a_model_that_a_site_has_overridden_is_called(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, get_model: Any, method: str
) -> None:
    site, called, original = make_site(), [], getattr(get_model(), method)

    def notes(row: Any, *args: Any, **kwargs: Any) -> Any:
        called.append((row.pk, getattr(row, "revoked", None)))
        return original(row, *args, **kwargs)

    first = site.token()
    ended = get_model().objects.get()
    monkeypatch.setattr(get_model(), method, notes)

    assert site.refresh(first.refresh).status == 200

    assert ended.pk in [pk for pk, _revoked in called]
    assert [site.active(each) for each in (first.access, first.refresh)] == [False, False]


@pytest.mark.parametrize(
    ("signal", "get_model"),
    [
        (pre_save, get_refresh_token_model),
        (post_save, get_refresh_token_model),
        (pre_delete, get_access_token_model),
        (post_delete, get_access_token_model),
    ],
)
def test_who_listens_is_told_what_becomes_of_an_unbound_pair(
    make_site: Callable[..., Site], signal: Any, get_model: Any
) -> None:
    site, told = make_site(), []
    first = site.token()
    ended = get_model().objects.get().pk

    def listens(instance: Any, **kwargs: Any) -> None:
        told.append(instance.pk)

    signal.connect(listens, sender=get_model())
    try:
        assert site.refresh(first.refresh).status == 200
    finally:
        signal.disconnect(listens, sender=get_model())

    assert ended in told


@pytest.fixture
def note_model(transactional_db: None) -> Iterator[Any]:
    """A model of a site's own, whose rows go with an access token."""

    class NoteOfToken(models.Model):  # noqa: DJ008
        access_token = models.ForeignKey(get_access_token_model(), models.CASCADE)

        class Meta:
            app_label = "auth"

    try:
        with connection.schema_editor() as editor:
            editor.create_model(NoteOfToken)
        # A site has its models from the start.
        usual_refresh._refers_alone.cache_clear()
        yield NoteOfToken
        with connection.schema_editor() as editor:
            editor.delete_model(NoteOfToken)
    finally:
        del apps.all_models["auth"]["noteoftoken"]
        apps.clear_cache()
        usual_refresh._refers_alone.cache_clear()


def test_what_refers_to_an_unbound_token_goes_with_it(
    note_model: Any, make_site: Callable[..., Site]
) -> None:
    site = make_site()
    first = site.token()
    note_model.objects.create(access_token=get_access_token_model().objects.get())

    answer = site.refresh(first.refresh)

    assert answer.status == 200
    assert not note_model.objects.exists()
    assert (site.active(first.access), site.active(answer.access)) == (False, True)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_unbound_pair_is_left_as_django_oauth_toolkit_leaves_it(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, token_type: str
) -> None:
    left, save = [], get_refresh_token_model().save
    for has_own in (False, True):
        with monkeypatch.context() as patch:
            if has_own:
                patch.setattr(get_refresh_token_model(), "save", lambda row, **kwargs: save(row, **kwargs))
            get_refresh_token_model().objects.all().delete()
            get_access_token_model().objects.all().delete()
            refreshed(make_site(token_type=token_type))
        before, after = get_refresh_token_model().objects.order_by("pk")
        access = get_access_token_model().objects.get()
        assert before.revoked is not None
        assert before.updated - before.revoked < after.created - before.created
        left.append(
            (
                before.access_token_id,
                access.source_refresh_token_id == before.pk,
                after.access_token_id == access.pk,
                after.token_family == before.token_family,
                after.revoked,
            )
        )

    assert left[0] == left[1]
    assert left[0] == (None, True, True, True, None)
