"""What is deleted with a user or an application, however much: in statements that each cover many rows.

Django's own deletion first reads all of it into memory, and reports the end of each token separately. The
deletion here goes first, in the same transaction, so that Django finds next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import CASCADE, SET_NULL, Q
from django.db.models.deletion import get_candidate_relations_to_delete
from django.db.models.signals import post_delete, pre_delete
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.core.databases import write_alias
from oauth_binding.models import (
    CodeContext,
    LoginSession,
    LoginSessionClient,
    LogoutNotification,
    TokenBinding,
    TokenExchange,
)
from oauth_binding.storage.chunks import in_chunks
from oauth_binding.storage.ending import add_rows_to_revocation_feed, add_to_revocation_feed


def held_by_user(user: Any) -> Iterator[Any]:
    """Yield a queryset for each table with what is deleted with a user, in the order of deletion.

    :param user: the user's primary key.
    """
    for model in (
        get_refresh_token_model(),
        get_access_token_model(),
        get_id_token_model(),
        get_grant_model(),
        get_device_grant_model(),
        CodeContext,
        TokenBinding,
        LoginSession,
    ):
        yield _rows(model, Q(user=user))


def held_by_application(application: Any) -> Iterator[Any]:
    """Yield a queryset for each table with what is deleted with an application, in the order of deletion.

    :param application: the application's primary key.
    """
    exchanges = _rows(TokenExchange, Q(client=application) | Q(subject_client=application))
    # This includes what others have exchanged from its tokens, if anything.
    exchanged = Q(exchange__in=exchanges.values("pk")) if exchanges.exists() else None
    held = Q(application=application)
    for model in (get_refresh_token_model(), get_access_token_model()):
        yield _rows(model, held if exchanged is None else held | exchanged)
    for model in (
        get_id_token_model(),
        get_grant_model(),
        CodeContext,
        LoginSessionClient,
        LogoutNotification,
    ):
        yield _rows(model, held)
    yield exchanges
    yield _rows(TokenBinding, held)


def delete_held(held: Iterable[Any]) -> Counter[str]:
    """Delete what a user or an application holds, and return how many rows of each model.

    The revocation feed names the JWTs among it. The caller has begun the transaction in which the holder is
    deleted, too.

    :param held: the querysets that one of the functions above yields.
    """
    counts: Counter[str] = Counter()
    for rows in held:
        counts += _delete(rows)
    return counts


def _delete(rows: Any) -> Counter[str]:
    """Delete the rows of a queryset as Django would, reading no more of them than their primary keys.

    If somebody else has asked to be told of each row, or something refers to the rows in a way of its own,
    Django deletes them.
    """
    model, counts = rows.model, Counter[str]()
    relations: list[Any] = list(get_candidate_relations_to_delete(model._meta))
    is_plain = (
        not is_heard(model)
        and not model._meta.parents
        and not model._meta.private_fields
        and all(
            relation.on_delete in (CASCADE, SET_NULL) and relation.field.target_field.primary_key
            for relation in relations
        )
    )
    for chunk in in_chunks(rows.order_by().values_list("pk", flat=True)):
        these = _rows(model, Q(pk__in=chunk))
        if not is_plain:
            counts.update(these.delete()[1])
            continue
        for relation in relations:
            name = relation.field.name
            referring = _rows(relation.related_model, Q(**{f"{name}__in": chunk}))
            if relation.on_delete is SET_NULL:
                referring.update(**{name: None})
            else:
                counts += _delete(referring)
        if model is get_access_token_model():
            add_rows_to_revocation_feed(these)
        counts[model._meta.label] += these._raw_delete(these.db)
    return counts


def is_heard(model: Any) -> bool:
    """Return whether anybody other than this app is told of each deleted row of a model."""
    signals: tuple[Any, ...] = (pre_delete, post_delete)
    receivers = (
        receiver for signal in signals for kind in signal._live_receivers(model) for receiver in kind
    )
    return any(receiver is not before_token_is_deleted for receiver in receivers)


def before_token_is_deleted(sender: Any, instance: Any, **kwargs: Any) -> None:
    """Let the revocation feed name an access token that Django deletes: some ways of revoking delete it."""
    add_to_revocation_feed(instance)


def _rows(model: Any, condition: Q) -> Any:
    # Also the bindings that are only gates of devices.
    return model._base_manager.using(write_alias(model)).filter(condition)
