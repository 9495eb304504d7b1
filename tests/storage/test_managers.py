"""Managers of a site's own, which choose the rows there are: here, the applications of one tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import models
from oauth2_provider.models import ApplicationManager

from tests.helpers.client import Site


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_application_is_there_for_its_tenant_only(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, token_type: str
) -> None:
    tenants = ["one"]

    def get_queryset(manager: Any) -> Any:
        return models.Manager.get_queryset(manager).filter(name__startswith=tenants[-1])

    monkeypatch.setattr(ApplicationManager, "get_queryset", get_queryset)
    site = make_bound(token_type, name="one: app")

    answers = []
    for tenant in ("one", "other", "one"):
        tenants.append(tenant)
        answers.append(site.bound("phone"))

    assert [answer.status for answer in answers] == [200, 401, 200]
    assert answers[1].data["error"] == "invalid_client"
