"""The rows of tokens."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_refresh_token_model,
)

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import TokenBinding


def expire(token: str) -> None:
    """Let an access token expire."""
    row = access_token_row(token)
    row.expires = timezone.now() - timedelta(seconds=1)
    row.save()


def access_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    return get_access_token_model().objects.get(token_checksum=checksum)


def refresh_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    rows = get_refresh_token_model().objects.filter(token_checksum=checksum)
    return rows.order_by("revoked").first()


def make_devices(user: Any, application: Any, number: int, **access_fields: Any) -> list[TokenBinding]:
    """Make devices of a user with a live pair of opaque tokens each, and return their bindings.

    :param number: how many; each was used a second after the one before.
    :param access_fields: what else their access tokens have.
    """
    now = timezone.now()
    TokenBinding.objects.bulk_create(
        TokenBinding(
            application_id=application.pk,
            user=user,
            binding_type="client-request",
            binding_value=(value := secrets.token_urlsafe(16)),
            reference=binding_reference(value),
            key=secrets.token_hex(32),
            last_used=now - timedelta(seconds=number - at),
        )
        for at in range(number)
    )
    # MariaDB does not tell the primary keys of what it has made.
    made = TokenBinding.objects.filter(user=user, application_id=application.pk).order_by("-pk")[:number]
    bindings = list(reversed(made))
    make_pairs(user, application, bindings, **access_fields)
    return bindings


def make_pairs(user: Any, application: Any, bindings: Iterable[Any], **access_fields: Any) -> None:
    """Make a live pair of opaque tokens for each of some bindings.

    :param bindings: None for what is bound to nothing.
    """
    access_model, refresh_model = get_access_token_model(), get_refresh_token_model()
    texts = {secrets.token_urlsafe(22): binding for binding in bindings}
    common = {"user": user, "application": application}
    access_model.objects.bulk_create(
        access_model(
            **common,
            token=text,
            token_checksum=hashlib.sha256(text.encode()).hexdigest(),
            binding=binding,
            slot=None if binding is None else secrets.token_hex(32),
            expires=timezone.now() + timedelta(hours=1),
            scope="read",
            **access_fields,
        )
        for text, binding in texts.items()
    )
    # MariaDB does not tell their primary keys. What ended before has no refresh token either, and gets none.
    made = access_model.objects.filter(user=user).select_related("binding").order_by("-pk")[: len(texts)]
    refresh_model.objects.bulk_create(
        refresh_model(
            **common,
            token=(text := f"refresh {access.pk}"),
            token_checksum=hashlib.sha256(text.encode()).hexdigest(),
            access_token=access,
            binding=access.binding,
            token_family=uuid.uuid4(),
        )
        for access in made
    )
