"""The page on which users see and sign out their devices."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.generic import TemplateView

from oauth_binding.devices.registry import (
    MAX_NAME_LENGTH,
    Device,
    devices_of,
    find_device,
    rename,
    sign_out,
    sign_out_everywhere,
    validate_name,
)

_LIST: Final = "oauth2_provider:device-list"

#: The number of devices on a page.
PAGE_SIZE: Final = 25


class DeviceNameForm(forms.Form):
    """The name that a user gives a device; an empty one removes it."""

    name = forms.CharField(
        label=_("Name"),
        help_text=_("Leave it empty to remove the name."),
        max_length=MAX_NAME_LENGTH,
        required=False,
        validators=[validate_name],
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, device: Device, data: Any = None) -> None:
        """
        :param device: one that can be named.
        :param data: what the user has sent, if anything.
        """
        self.device = device
        name = "" if device.binding is None else device.binding.name
        super().__init__(data, auto_id=f"{device.id}-%s", initial={"name": name})


@method_decorator((never_cache, csrf_protect), name="dispatch")
class DeviceListView(LoginRequiredMixin, TemplateView):
    """The applications and devices on which the user is signed in."""

    template_name = "oauth_binding/device_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return the context of the template.

        ``rows`` has a dict per device of the page: the ``device``, and the ``form`` for its name or None.
        ``page_obj`` is Django's page of them, and ``page_range`` has the numbers of those to link.
        ``messages`` is there without the context processor, too.
        """
        paginator = Paginator(devices_of(self.user), PAGE_SIZE)
        page = paginator.get_page(self.page_number)
        devices = list(page.object_list)
        refused: DeviceNameForm | None = kwargs.pop("refused", None)
        refusals = {} if refused is None else {refused.device.id: refused}
        if refused is not None and refused.device.id not in {device.id for device in devices}:
            devices.insert(0, refused.device)  # what is wrong is said, wherever the device is by now
        rows = [
            {
                "device": device,
                "form": refusals.get(device.id, DeviceNameForm(device)) if device.can_be_named else None,
            }
            for device in devices
        ]
        return super().get_context_data(
            rows=rows,
            page_obj=page,
            page_range=list(paginator.get_elided_page_range(page.number, on_each_side=2, on_ends=1)),
            messages=messages.get_messages(self.request),
            **kwargs,
        )

    @property
    def user(self) -> Any:
        return self.request.user

    @property
    def page_number(self) -> str | None:
        """The number of the page, as it was sent: another than there is stands for the first or the last."""
        return self.request.GET.get("page")


class DeviceActionView(DeviceListView):
    """Does something with one of the user's devices, and goes back to the list."""

    http_method_names = ["post"]

    @property
    def page_number(self) -> str | None:
        return self.request.POST.get("page")

    def handle_no_permission(self) -> HttpResponseRedirect:
        # Nobody comes back from signing in with a POST.
        return redirect_to_login(reverse(_LIST), self.get_login_url(), self.get_redirect_field_name())

    def post(self, request: HttpRequest, device: str) -> HttpResponse:
        found = find_device(self.user, device)
        if found is None:
            raise Http404
        return self.act(found)

    def act(self, device: Device) -> HttpResponse:
        """Do it, and return where to go from here.

        :raises Http404: it can't be done with this device.
        """
        raise NotImplementedError

    def done(self, message: str) -> HttpResponse:
        """Say what was done, where the site has messages, and return to the page that it was done on."""
        messages.success(self.request, message, fail_silently=True)
        number = self.page_number or ""
        is_later = re.fullmatch("[0-9]{1,9}", number) and int(number) > 1
        query = f"?{urlencode({'page': number})}" if is_later else ""
        return HttpResponseRedirect(f"{reverse(_LIST)}{query}")


class DeviceSignOutView(DeviceActionView):
    """Signs the user out on a device."""

    def act(self, device: Device) -> HttpResponse:
        sign_out(self.user, device)
        return self.done(gettext("Signed out: %(device)s.") % {"device": device.name})


class DeviceSignOutOthersView(DeviceActionView):
    """Signs the user out everywhere but on a device."""

    def act(self, device: Device) -> HttpResponse:
        count = sign_out_everywhere(self.user, keep=device.id)
        message = ngettext("Signed out: one other.", "Signed out: %(count)d others.", count)
        return self.done(message % {"count": count})


class DeviceRenameView(DeviceActionView):
    """Gives a device a name."""

    def act(self, device: Device) -> HttpResponse:
        if device.binding is None or not device.can_be_named:
            raise Http404
        form = DeviceNameForm(device, self.request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(refused=form))
        rename(device.binding, form.cleaned_data["name"])
        return self.done(gettext("The name was saved."))
