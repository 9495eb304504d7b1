"""Giving django-oauth-toolkit's own models the fields of this app."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

from django.db import models
from oauth2_provider.models import AccessToken, Application, RefreshToken

from oauth_binding.models.application import ApplicationBindingFields, clean_client
from oauth_binding.models.tokens import AccessTokenBindingFields, RefreshTokenBindingFields

#: The fields of each model that takes part in binding.
CONTRIBUTED_FIELDS: dict[type[models.Model], type[models.Model]] = {
    Application: ApplicationBindingFields,
    AccessToken: AccessTokenBindingFields,
    RefreshToken: RefreshTokenBindingFields,
}

# django-oauth-toolkit's own models get the fields the way Django's model inheritance gives them to a
# subclass. So do swapped models: migrations keep them in their state, but no table is made for them.
for _model, _fields in CONTRIBUTED_FIELDS.items():
    for _field in _fields._meta.local_fields:
        _model.add_to_class(_field.name, copy.deepcopy(_field))

for _name in ("allowed_grant_types", "allows_grant_type", "clean_allowed_grant_types"):
    setattr(Application, _name, vars(ApplicationBindingFields)[_name])

_clean = Application.clean


def _clean_with_client_id(application: Any) -> None:
    clean_client(application, partial(_clean, application))


Application.clean = _clean_with_client_id
