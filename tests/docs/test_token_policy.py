"""The fields of a token policy are all documented and in the admin, and the recipes work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory
from oauth2_provider.models import get_application_model

import oauth_binding
from oauth_binding.console.token_policies import TokenPolicyInline
from oauth_binding.models import TokenPolicy, policy_problems

DOCS = Path(oauth_binding.__file__).parents[1] / "docs"

FIELDS = {field.name for field in TokenPolicy._meta.concrete_fields} - {"id", "application"}

#: What the table of recipes calls the fields of the application itself.
OF_APPLICATION = {"Token type": "token_type", "Binding type": "token_binding_type"}
BINDING_TYPES = {"client-request": "client-request", "none": "none", "DPoP key": "dpop-key"}


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    text = (DOCS / page).read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_every_field_is_in_the_settings() -> None:
    documentation = (DOCS / "settings.md").read_text()
    table = documentation.partition("What is not of DOT's table is in a `TokenPolicy`")[2].partition("\n## ")[
        0
    ]

    found = [
        name for line in table.splitlines() if line.startswith("| `") for name in named(line.split("|")[1])
    ]
    assert sorted(found) == sorted(FIELDS)


def test_every_field_is_explained_on_the_page_of_policies() -> None:
    page = (DOCS / "token-policy.md").read_text()
    assert {name for name in FIELDS if f"`{name}`" not in page} == set()


@pytest.mark.django_db
def test_every_field_is_in_the_admin(settings: Any, admin_user: Any) -> None:
    settings.OAUTH_BINDING = {"CLAIM_SOURCES": {"email": "email"}}
    request = RequestFactory().get("/")
    request.user = admin_user
    inline = TokenPolicyInline(get_application_model(), admin.site)

    shown = {name for _title, options in inline.get_fieldsets(request) for name in options["fields"]}
    assert shown >= FIELDS


@pytest.mark.parametrize("recipe", range(1, 6))
def test_a_recipe_contradicts_nothing(recipe: int) -> None:
    values: dict[str, Any] = {}
    for first, *cells in rows("token-policy.md", "Recipes")[1:]:
        cell = cells[recipe - 1]
        names = [OF_APPLICATION[first]] if first in OF_APPLICATION else named(first)
        assert set(names) <= FIELDS | set(OF_APPLICATION.values())
        steps = named(cell)
        if first == "Binding type":
            values[names[0]] = BINDING_TYPES[cell]
        elif first == "Token type":
            values[names[0]] = cell.lower()
        elif names[0] == "max_devices":
            if cell:
                values["max_devices"], values["device_limit_action"] = int(cell.split(",")[0]), steps[0]
        elif names[0].endswith("audiences"):
            values[names[0]] = "https://api.example" if cell else ""
        elif steps:
            values[names[0]] = steps[-1]
        elif cell in {"yes", "no"}:
            values[names[0]] = cell == "yes"
        elif cell:
            values[names[0]] = int(cell.split()[0])
    of_application = {name: values.pop(name) for name in OF_APPLICATION.values()}
    application = get_application_model()(authorization_grant_type="authorization-code", **of_application)

    policy = TokenPolicy(**values)
    policy.clean_fields(exclude=["application"])
    assert list(policy_problems(application, policy)) == []


def test_the_comparison_has_every_field_that_others_could_have() -> None:
    compared = {
        name
        for first, *_cells in rows("token-policy.md", "In Keycloak and Asgardeo")
        for name in named(first)
    }
    assert FIELDS - compared == {"sender_constraint", "require_presented_binding"}
