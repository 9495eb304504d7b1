"""models.py of a site whose tables all have primary keys of types of their own, none of them a number."""

import secrets
import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from oauth2_provider.models import AbstractDeviceGrant, AbstractGrant, AbstractIDToken

from oauth_binding.models import BoundAccessToken, BoundApplication, BoundRefreshToken


def new_key() -> str:
    """Return a key as long as MySQL may index one, with what addresses have to quote."""
    return f"Key/{secrets.token_urlsafe(60)}.é_?#%".ljust(190, "-")


class User(AbstractUser):
    key = models.CharField(primary_key=True, max_length=190, default=new_key, editable=False)


class Application(BoundApplication):
    id = models.CharField(primary_key=True, max_length=190, default=new_key, editable=False)


class AccessToken(BoundAccessToken):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class RefreshToken(BoundRefreshToken):
    id = models.CharField(primary_key=True, max_length=190, default=new_key, editable=False)


class Grant(AbstractGrant):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class IDToken(AbstractIDToken):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class DeviceGrant(AbstractDeviceGrant):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
