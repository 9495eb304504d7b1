"""models.py of a site with models of its own, users among them."""

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from oauth2_provider.models import AbstractGrant, AbstractIDToken

from oauth_binding.models import BoundAccessToken, BoundApplication, BoundRefreshToken


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)


class Application(BoundApplication):
    pass


class AccessToken(BoundAccessToken):
    pass


class RefreshToken(BoundRefreshToken):
    pass


class Grant(AbstractGrant):
    pass


class IDToken(AbstractIDToken):
    pass
