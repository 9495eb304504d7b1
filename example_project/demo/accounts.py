"""Who takes part in the demo: people with a password, and client applications with a secret."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model

from oauth_binding.binding import ClientRequestBinder
from oauth_binding.binding.semantics import TokenType
from oauth_binding.models import TOKEN_EXCHANGE, TokenExchangeRule, TokenPolicy


@dataclass(frozen=True)
class Credentials:
    """A name and its password, or a client identifier and its secret (RFC 6749 section 2.3.1)."""

    name: str
    password: str


def create_administrator() -> Credentials:
    """Create the demo's administrator, or give the one of an earlier run a new password."""
    return _create_user("demo-admin", is_staff=True, is_superuser=True)


def create_user() -> Credentials:
    """Create the demo's user, or give the one of an earlier run a new password."""
    return _create_user("demo-user")


def create_application(name: str, token_type: TokenType, owner: Credentials) -> Credentials:
    """Create an application with client-request binding; the one of an earlier run goes, with all its tokens.

    :param name: what operators read in the admin.
    :param token_type: the form of its access tokens.
    :param owner: the user it belongs to.
    """
    password_grant = get_application_model().GRANT_PASSWORD
    return _create_application(name, token_type, owner, authorization_grant_type=password_grant)


def create_application_with_keys(name: str, token_type: TokenType, owner: Credentials) -> Credentials:
    """Create such an application whose devices have to prove a key with every token request (RFC 9449)."""
    credentials = create_application(name, token_type, owner)
    TokenPolicy.objects.create(
        application=get_application_model().objects.get(client_id=credentials.name),
        sender_constraint="dpop",
        require_sender_constraint="yes",
    )
    return credentials


def create_backend(
    name: str, token_type: TokenType, owner: Credentials, subject_client: Credentials
) -> Credentials:
    """Create an application that may exchange the tokens of another one, and is otherwise like it.

    :param subject_client: the other one.
    """
    application_model = get_application_model()
    backend = _create_application(
        name,
        token_type,
        owner,
        authorization_grant_type=application_model.GRANT_CLIENT_CREDENTIALS,
        additional_grant_types=TOKEN_EXCHANGE,
    )
    TokenExchangeRule.objects.create(
        client=application_model.objects.get(client_id=backend.name),
        subject_client=application_model.objects.get(client_id=subject_client.name),
        impersonation=True,
        refresh_tokens=True,
    )
    return backend


def create_api(name: str, owner: Credentials) -> Credentials:
    """Create the application as which an API on another machine introspects tokens."""
    return _create_application(
        name,
        TokenType.OPAQUE,
        owner,
        authorization_grant_type=get_application_model().GRANT_CLIENT_CREDENTIALS,
    )


def _create_application(
    name: str, token_type: TokenType, owner: Credentials, **grant_types: str
) -> Credentials:
    application_model = get_application_model()
    identity = {"name": name, "user": User.objects.get(username=owner.name)}
    application_model.objects.filter(**identity).delete()
    secret = secrets.token_urlsafe(32)
    application = application_model.objects.create(
        **identity,
        **grant_types,
        client_type=application_model.CLIENT_CONFIDENTIAL,
        client_secret=secret,
        # The demo introspects a hundred times, and each time a hash is slow to verify on purpose.
        hash_client_secret=False,
        token_type=token_type.value,
        token_binding_type=ClientRequestBinder.type,
    )
    return Credentials(application.client_id, secret)


def _create_user(username: str, **permissions: bool) -> Credentials:
    password = secrets.token_urlsafe(16)
    User.objects.update_or_create(
        username=username, defaults={"password": make_password(password), "is_active": True, **permissions}
    )
    return Credentials(username, password)
