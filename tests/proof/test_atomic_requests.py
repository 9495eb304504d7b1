"""Used proofs in the table, on a site that has a transaction around each request (``ATOMIC_REQUESTS``)."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from oauth_binding.models import TokenPolicy
from oauth_binding.resource_server import protected_resource
from tests.helpers.client import Site
from tests.helpers.dpop import DeviceKey

TOKEN, API = "/oauth2/token/", "/fails/"


@csrf_exempt
@protected_resource(["read"])
def fails(request: HttpRequest) -> HttpResponse:
    """An API that fails after the proof was accepted, unless it is called well."""
    if "well" in request.GET:
        return HttpResponse("in")
    raise RuntimeError("on purpose")


urlpatterns = [*import_module(settings.ROOT_URLCONF).urlpatterns, path(API.removeprefix("/"), fails)]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


@pytest.fixture(params=[True, False], ids=["ATOMIC_REQUESTS", "autocommit"])
def is_atomic(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param)
    return bool(request.param)


@pytest.fixture(params=["opaque", "jwt"])
def device(request: pytest.FixtureRequest, make_bound: Callable[..., Site], is_atomic: bool) -> Site:
    """A device with a key of its own."""
    site = make_bound(request.param)
    TokenPolicy.objects.create(application=site.application, sender_constraint="dpop")
    site.key = DeviceKey()
    return site


def test_a_token_request_and_its_replay(device: Site) -> None:
    proof = {"DPoP": DeviceKey().proof("POST", TOKEN)}

    first = device.post(TOKEN, device.grant(tokenBindingId="phone"), headers=proof)
    again = device.post(TOKEN, device.grant(tokenBindingId="phone"), headers=proof)

    assert (first.status, first["token_type"]) == (200, "DPoP")
    assert (again.status, again["error"]) == (400, "invalid_dpop_proof")
    # What was refused has changed nothing, and neither has it left a transaction behind.
    assert device.active(first.access)
    assert device.bound("phone").status == 200


def test_an_api_that_answers_and_the_replay(device: Site) -> None:
    assert device.key is not None
    headers = device.key.headers("GET", API, device.bound("phone").access)

    statuses = [Client().get(f"{API}?well", headers=headers).status_code for _ in range(3)]

    assert statuses == [200, 401, 401]


def test_a_request_that_is_rolled_back_has_not_used_its_proof(device: Site, is_atomic: bool) -> None:
    """As the documentation says: with a transaction around the request, the proof is good once more."""
    assert device.key is not None
    headers = device.key.headers("GET", API, device.bound("phone").access)
    client = Client(raise_request_exception=False)

    assert client.get(API, headers=headers).status_code == 500

    statuses: list[Any] = [client.get(f"{API}?well", headers=headers).status_code for _ in range(2)]
    assert statuses == ([200, 401] if is_atomic else [401, 401])
