"""Staff of the admin, and what they send."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client

from tests.helpers.client import SECRET

APPLICATIONS = "/admin/oauth2_provider/application/"


def staff(*permissions: str) -> Client:
    """Sign in somebody with some permissions."""
    user = User.objects.create_user("staff", "staff@example.com", "password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def form(**fields: Any) -> dict[str, Any]:
    """Return what the form of a new application posts: a password client with JWTs, but for what is given."""
    return {
        "name": "Mobile app",
        "client_id": "mobile",
        "client_secret": SECRET,
        "client_type": "confidential",
        "allowed_grant_types": ["password"],
        "redirect_uris": "",
        "post_logout_redirect_uris": "",
        "allowed_origins": "",
        "algorithm": "",
        "token_type": "jwt",
        "token_binding_type": "client-request",
        **policy(),
        **fields,
    }


def policy(
    sender_constraint: str = "none",
    require_sender_constraint: str = "no",
    row: int | str | None = None,
    **fields: str,
) -> dict[str, Any]:
    """Return what the section of the token policy posts.

    :param row: the primary key of the row that is there already.
    :param fields: its other fields, where they are not as by default.
    """
    others = {"require_binding": "no", "require_presented_binding": "no", **fields}
    return {
        **{f"token_policy-0-{name}": value for name, value in others.items()},
        "token_policy-TOTAL_FORMS": "1",
        "token_policy-INITIAL_FORMS": "0" if row is None else "1",
        "token_policy-0-id": "" if row is None else row,
        "token_policy-0-sender_constraint": sender_constraint,
        "token_policy-0-require_sender_constraint": require_sender_constraint,
        "token_policy-0-max_devices": "",
        "token_policy-0-device_limit_action": "evict",
    }


def errors(page: Any) -> dict[str, list[str]]:
    """Return what the page of a form says at each field, those of the token policy included."""
    assert page.status_code == 200
    found = dict(page.context["adminform"].form.errors)
    for formset in page.context.get("inline_admin_formsets", ()):
        for each in formset.formset.errors:
            found |= each
    return found
