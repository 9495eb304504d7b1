"""Binding types of third parties: all it takes is a TokenBinder and its path in ``OAUTH_BINDING``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from oauth_binding.binding import TokenBinder
from oauth_binding.binding.semantics import binding_reference
from tests.helpers.client import Answer, Site

if TYPE_CHECKING:
    from oauthlib.common import Request


class DeviceBinder(TokenBinder):
    """Binds tokens to the ``device`` in the form."""

    type = "device"
    label = "The device in the form"
    parameter = "device"

    def get_binding_value(self, request: Request) -> str | None:
        return dict(request.decoded_body).get("device")


class HeaderBinder(TokenBinder):
    """Binds tokens to a header, and demands it."""

    type = "header"
    label = "The device in the X-Device header"
    required = True

    def get_binding_value(self, request: Request) -> str | None:
        value: str | None = request.headers.get("HTTP_X_DEVICE")
        return value


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    binders = [f"{__name__}.DeviceBinder", f"{__name__}.HeaderBinder"]
    with override_settings(OAUTH_BINDING={"BINDERS": binders}):
        yield


def with_header(site: Site, device: str | None) -> Answer:
    headers = {} if device is None else {"X-Device": device}
    return site.post("/oauth2/token/", site.grant(), headers=headers)


def test_a_form_parameter(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="device")
    phone, tablet = site.token(device="phone"), site.token(device="tablet")

    assert site.token(device="phone").access == phone.access
    assert tablet.access != phone.access
    introspected = site.introspect(phone.access)
    assert introspected["binding_type"] == "device"
    assert introspected["binding_ref"] == binding_reference("phone")


def test_without_the_parameter_the_slot_is_shared(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="device")

    assert site.token().access == site.token().access


def test_a_header(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="header")
    phone, tablet = with_header(site, "phone"), with_header(site, "tablet")

    assert with_header(site, "phone").access == phone.access
    assert tablet.access != phone.access


def test_a_required_value(make_site: Callable[..., Site]) -> None:
    answer = with_header(make_site(token_binding_type="header"), None)

    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "header" in answer["error_description"]


def test_its_parameter_is_not_repeated(make_site: Callable[..., Site]) -> None:
    answer = make_site(token_binding_type="device").token(device=["phone", "phone"])

    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "device" in answer["error_description"]


@pytest.mark.parametrize("value", ["x" * 256, "a\x00b", "a\nb"])
def test_a_value_that_can_not_be_stored_is_refused(make_site: Callable[..., Site], value: str) -> None:
    answer = make_site(token_binding_type="device").token(device=value)

    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "device" in answer["error_description"]


def test_an_empty_value_is_none(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="device", require_binding="yes")

    assert site.token(device="").status == 400


def test_its_parameter_is_not_in_the_query_string(make_site: Callable[..., Site]) -> None:
    answer = make_site(token_binding_type="device").token(path="/oauth2/token/?device=phone")

    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "device" in answer["error_description"]


def test_an_operator_can_choose_it(db: None, client: Client) -> None:
    client.force_login(User.objects.create_superuser("operator"))

    page = client.get("/admin/oauth2_provider/application/add/").content.decode()

    assert '<option value="device">The device in the form</option>' in page
    assert '<option value="client-request">' not in page


def test_its_page_says_so_where_it_is_not_installed_any_more(
    make_site: Callable[..., Site], client: Client
) -> None:
    application = make_site(token_binding_type="device").application
    client.force_login(User.objects.create_superuser("operator"))

    with override_settings(OAUTH_BINDING={"BINDERS": []}):
        page = client.get(f"/admin/oauth2_provider/application/{application.pk}/change/").content.decode()

    assert "This token binding type is not installed: token requests are refused." in page


def test_refreshing_with_another_value_is_refused(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="device")
    phone = site.token(device="phone")

    answer = site.refresh(phone.refresh, device="tablet")

    assert (answer.status, answer["error"]) == (400, "invalid_grant")
    assert site.refresh(phone.refresh, device="phone").status == 200


def test_without_its_binder_an_application_gets_no_token(make_site: Callable[..., Site]) -> None:
    site = make_site(token_binding_type="device")
    phone = site.token(device="phone")

    with override_settings(OAUTH_BINDING={"BINDERS": []}):
        answers = [site.token(device="phone"), site.refresh(phone.refresh)]

    for answer in answers:
        assert (answer.status, answer["error"]) == (503, "server_error")
        assert answer.headers["Content-Type"] == "application/json"
        assert "access_token" not in answer.data
    assert site.refresh(phone.refresh).status == 200
