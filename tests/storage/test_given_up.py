"""What a database gives up for another transaction is tried again, whoever does it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test import override_settings
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.authorization_server import ClientSecretGenerator
from oauth_binding.models import TokenBinding
from tests.helpers.client import PASSWORD, Site
from tests.helpers.provider import provider

pytestmark = pytest.mark.django_db(transaction=True)

FAST = "oauth_binding_sha256"
HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "oauth_binding.authorization_server.GeneratedSecretHasher",
]


@contextmanager
def giving_up(verb: str, model: Any) -> Iterator[None]:
    """Have the database give up the first statement of a kind, as MariaDB says it."""
    table = connection.ops.quote_name(model._meta.db_table)
    given_up: list[str] = []

    def execute(run: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith(f"{verb} {table}") and not given_up:
            given_up.append(sql)
            raise OperationalError from Exception(1213, "Deadlock found when trying to get lock")
        return run(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield
    assert given_up


def test_renewing_the_hash_of_a_password(make_site: Callable[..., Site], user: User) -> None:
    site = make_site()
    with override_settings(PASSWORD_HASHERS=HASHERS):
        User.objects.update(password=make_password(PASSWORD, hasher="pbkdf2_sha256"))
        with giving_up("UPDATE", User):
            assert site.token().status == 200
    user.refresh_from_db()
    assert user.password.startswith("md5$")


def test_renewing_the_hash_of_a_client_secret(make_site: Callable[..., Site]) -> None:
    secret = ClientSecretGenerator().hash()
    site = make_site(client_secret=secret, hash_client_secret=True)
    site.secret = secret
    model = get_application_model()
    hashing = override_settings(PASSWORD_HASHERS=HASHERS)
    with hashing, provider(CLIENT_SECRET_HASHER=FAST), giving_up("UPDATE", model):
        assert site.token().status == 200
    assert model.objects.get().client_secret.startswith(FAST)


def test_forgetting_devices(make_bound: Callable[..., Site]) -> None:
    make_bound().bound("phone")
    TokenBinding.objects.update(last_used=timezone.now() - timedelta(days=100))
    for model in (get_refresh_token_model(), get_access_token_model()):
        model.objects.all().delete()
    with giving_up("DELETE FROM", TokenBinding):
        call_command("clearbindings", verbosity=0)
    assert not TokenBinding.objects.exists()
