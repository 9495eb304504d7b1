"""Staff of the admin."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def staff(*permissions: str) -> Client:
    """Sign in somebody with some permissions."""
    user = User.objects.create_user("staff", "staff@example.com", "password", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client
