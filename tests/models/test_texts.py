"""What the rows of this app are called: by their numbers, as they have secrets in them."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps

from oauth_binding.models import TokenExchangeRule

#: It has none, and operators know it by its applications.
NAMED = {TokenExchangeRule}


@pytest.mark.parametrize(
    "model", [each for each in apps.get_app_config("oauth_binding").get_models() if each not in NAMED]
)
def test_a_row_is_called_by_its_number(model: Any) -> None:
    assert str(model(pk=7)) == f"{model.__name__} #7"
