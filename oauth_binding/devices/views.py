"""The page on which users see and sign out their devices."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, NamedTuple

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.generic import TemplateView

from oauth_binding.core.device_names import MAX_NAME_LENGTH, validate_name
from oauth_binding.core.language import language_of_texts
from oauth_binding.devices.history import (
    note_browser_signed_out,
    note_device_signed_out,
    note_others_signed_out,
    note_renamed,
)
from oauth_binding.devices.live_bindings import LivePaginator
from oauth_binding.devices.login_sessions import (
    applications_of,
    browser_name,
    find_login_session,
    found_sessions,
    sign_out_browser,
)
from oauth_binding.devices.registry import (
    Device,
    count_others,
    devices_of,
    find_device,
    rename,
    sign_out,
    sign_out_everywhere,
)
from oauth_binding.devices.state import LIST, SEARCH, PageLinks, State
from oauth_binding.models import LoginSession
from oauth_binding.sessions.browser import current

#: The number of devices on a page.
PAGE_SIZE: Final = 25

#: The number of browsers on a page: they are above the devices.
BROWSERS_PAGE_SIZE: Final = 10


class DeviceSearchForm(forms.Form):
    """What a user searches for among many devices and browsers."""

    q = forms.CharField(
        label=_("Find a device, browser or application"),
        max_length=MAX_NAME_LENGTH,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off", "dir": "auto"}),
    )

    def __init__(self, search: str) -> None:
        """
        :param search: what was sent; empty for nothing.
        """
        super().__init__({SEARCH: search} if search else None, auto_id="oauth-devices-%s")


class DeviceNameForm(forms.Form):
    """The name that a user gives a device; an empty one removes it."""

    name = forms.CharField(
        label=_("Name"),
        help_text=_("Leave it empty to remove the name."),
        max_length=MAX_NAME_LENGTH,
        required=False,
        validators=[validate_name],
        widget=forms.TextInput(attrs={"autocomplete": "off", "dir": "auto"}),
    )

    def __init__(self, device: Device, data: Any = None) -> None:
        """
        :param device: one that can be named.
        :param data: what the user has sent, if anything.
        """
        self.device = device
        name = "" if device.binding is None else device.binding.name
        super().__init__(data, auto_id=f"{device.id}-%s", initial={"name": name})


def _isolated(name: object) -> str:
    """Return a name to put into a sentence, in whichever direction it is written."""
    return format_html("<bdi>{}</bdi>", name)


@method_decorator((never_cache, csrf_protect), name="dispatch")
class OwnView(LoginRequiredMixin, TemplateView):
    """A page of the signed-in user's own."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return what ``oauth_binding/base.html`` and the pages that extend it need.

        ``page_language`` is the language that the texts are in, and ``page_bidi`` whether that is written
        from right to left. ``return_query`` says where on the list the user is, for addresses.
        """
        language = language_of_texts()
        return super().get_context_data(
            page_language=language,
            page_bidi=language.split("-")[0] in settings.LANGUAGES_BIDI,
            return_query=self.state.query,
            **kwargs,
        )

    @property
    def user(self) -> Any:
        return self.request.user

    @cached_property
    def at_hand(self) -> LoginSession | None:
        """The login session of the requesting browser, if it has one."""
        return current(self.request)

    @cached_property
    def state(self) -> State:
        """Where on the list the user is."""
        return State(self.request.GET)

    def handle_no_permission(self) -> HttpResponseRedirect:
        # After signing in, nobody comes back with a POST.
        return redirect_to_login(reverse(LIST), self.get_login_url(), self.get_redirect_field_name())

    def done(self, message: str) -> HttpResponse:
        """Say what was done, if the site has messages, and return to where the user was on the list."""
        messages.success(self.request, message, fail_silently=True)
        return HttpResponseRedirect(f"{reverse(LIST)}{self.state.query}")


class DeviceListView(OwnView):
    """The applications, devices and browsers in which the user is signed in."""

    template_name = "oauth_binding/device_list.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return the context of the template.

        ``rows`` has a dict for each device on the page: the ``device``, and the ``form`` for its name or
        None. ``pages`` has the links to the other pages, and ``page_obj`` is Django's page. ``browsers`` has
        a dict per browser of the page, that of the user first: the ``session``, its ``name``, the
        ``applications`` that are signed in from it, and whether it is ``this_browser``; ``browser_pages`` has
        the links to the others. ``search`` is the form to find some, or None if all are shown;
        ``number_found`` is how many were found, or ``more_found_than`` says how many at least if not all are
        counted; both are None if nothing is searched for. ``has_others`` says whether the user is signed in
        anywhere else. ``messages`` is there without the context processor, too.
        """
        search = DeviceSearchForm(self.state.search)
        words = search.cleaned_data[SEARCH] if search.is_valid() else ""
        devices = devices_of(self.user, search=words, session=self.at_hand)
        paginator = LivePaginator(devices, PAGE_SIZE)
        page = self.state.page_of(paginator, "page")
        rows = [
            {"device": device, "form": DeviceNameForm(device) if device.can_be_named else None}
            for device in page.object_list
        ]
        sessions = found_sessions(self.user, words, self.at_hand)
        browser_page = self.state.page_of(Paginator(sessions, BROWSERS_PAGE_SIZE), "browsers")
        browsers = self._browsers(list(browser_page.object_list))
        is_counted = paginator.is_counted
        number = page.paginator.count + browser_page.paginator.count
        here = sum(row["device"].is_here for row in rows) + (self.at_hand is not None)
        is_long = page.has_other_pages() or browser_page.has_other_pages()
        return super().get_context_data(
            rows=self._with_refused(rows, kwargs.pop("refused", None)),
            page_obj=page,
            pages=PageLinks(page, "page", self.state),
            browsers=browsers,
            browser_pages=PageLinks(browser_page, "browsers", self.state),
            search=search if is_long or search.is_bound else None,
            number_found=number if words and is_counted else None,
            more_found_than=number - 1 if words and not is_counted else None,
            has_others=search.is_bound or number > here,
            messages=messages.get_messages(self.request),
            **kwargs,
        )

    def _with_refused(self, rows: list[Any], refused: DeviceNameForm | None) -> list[Any]:
        """Return the rows, one of them with a form that says what is wrong, wherever its device is by now."""
        if refused is None:
            return rows
        others = [row for row in rows if row["device"].id != refused.device.id]
        row = {"device": refused.device, "form": refused}
        if len(others) == len(rows):
            return [row, *rows]
        return [row if each["device"].id == refused.device.id else each for each in rows]

    def _browsers(self, sessions: list[LoginSession]) -> list[dict[str, Any]]:
        applications = applications_of(sessions) if sessions else {}
        return [
            {
                "session": session,
                "name": browser_name(session),
                "applications": applications[session.pk],
                "this_browser": session == self.at_hand,
            }
            for session in sessions
        ]


class DeviceRenameView(DeviceListView):
    """Gives a device a name."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, device: str) -> HttpResponse:
        found = find_device(self.user, device, session=self.at_hand)
        if found is None or found.binding is None or not found.can_be_named:
            raise Http404
        form = DeviceNameForm(found, request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(refused=form))
        before, name, named = found.name, form.cleaned_data["name"], found.binding.name
        rename(found.binding, name)
        note_renamed(self.user, found.binding, named)
        text = (
            gettext("{before} is now called {name}.")
            if name
            else gettext("{before} has no name of its own any more.")
        )
        return self.done(format_html(text, before=_isolated(before), name=_isolated(name)))


class Confirmation(NamedTuple):
    """What a user is asked before something is done."""

    question: str
    consequence: str
    #: The label of the button; empty if there is nothing to do.
    button: str


class ConfirmedView(OwnView):
    """Asks whether to do something, does it, and goes back to the list."""

    template_name = "oauth_binding/confirm_sign_out.html"
    http_method_names = ["get", "head", "post"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Return the context of the template.

        It has the ``question``, its ``consequence``, and the label of the ``button``, which is empty if there
        is nothing to do.
        """
        return super().get_context_data(**self.confirmation()._asdict(), **kwargs)

    def confirmation(self) -> Confirmation:
        """Return what to ask.

        :raises Http404: what the address names does not exist.
        """
        raise NotImplementedError


class DeviceSignOutView(ConfirmedView):
    """Signs the user out on a device."""

    def confirmation(self) -> Confirmation:
        found = self._find()
        if found.can_be_named:
            consequence = gettext("To use {application} there again, you have to sign in.")
        else:
            consequence = gettext(
                "Wherever {application} did not say which device it is on, you have to sign in to use it"
                " again. There may be several."
            )
        return Confirmation(
            format_html(gettext("Sign out {device}?"), device=_isolated(found.name)),
            format_html(consequence, application=_isolated(found.application)),
            gettext("Sign out"),
        )

    def post(self, request: HttpRequest, device: str) -> HttpResponse:
        found = self._find()
        sign_out(self.user, found)
        note_device_signed_out(self.user, found)
        return self.done(format_html(gettext("{device} is signed out."), device=_isolated(found.name)))

    def _find(self) -> Device:
        found = find_device(self.user, self.kwargs["device"])
        if found is None:
            raise Http404
        return found


class DeviceSignOutOthersView(ConfirmedView):
    """Signs the user out everywhere except in the present browser, and what was signed in from it."""

    def confirmation(self) -> Confirmation:
        count = count_others(self.user, keep_session=self.at_hand)
        if not count:
            return Confirmation(
                gettext("You are signed in nowhere else"), gettext("There is nothing to sign out."), ""
            )
        question = ngettext(
            "Sign out on one other device or browser?",
            "Sign out on %(count)d other devices and browsers?",
            count,
        )
        consequence = gettext(
            "You stay signed in in this browser, and in the applications that you have signed in to from it."
            " Everywhere else you have to sign in again."
        )
        return Confirmation(question % {"count": count}, consequence, gettext("Sign out everywhere else"))

    def post(self, request: HttpRequest) -> HttpResponse:
        count = sign_out_everywhere(self.user, keep_session=self.at_hand)
        note_others_signed_out(self.user, count)
        message = ngettext(
            "One other device or browser is signed out.",
            "%(count)d other devices and browsers are signed out.",
            count,
        )
        return self.done(message % {"count": count})


class LoginSessionSignOutView(ConfirmedView):
    """Signs the user out in a browser; in the present one, that is a logout."""

    def confirmation(self) -> Confirmation:
        found = self._find()
        if found == self.at_hand:
            question, consequence = (
                gettext("Sign out this browser?"),
                gettext("You have to log in again here."),
            )
        else:
            question = format_html(gettext("Sign out {device}?"), device=_isolated(browser_name(found)))
            consequence = gettext("Whoever uses that browser has to log in again.")
        return Confirmation(question, consequence, gettext("Sign out"))

    def post(self, request: HttpRequest, session: int) -> HttpResponse:
        found = self._find()
        if found == self.at_hand:
            note_browser_signed_out(self.user, found)
            logout(request)
            if settings.LOGOUT_REDIRECT_URL:
                return HttpResponseRedirect(resolve_url(settings.LOGOUT_REDIRECT_URL))
            return self.handle_no_permission()
        sign_out_browser(found)
        note_browser_signed_out(self.user, found)
        name = _isolated(browser_name(found))
        return self.done(format_html(gettext("{device} is signed out."), device=name))

    def _find(self) -> LoginSession:
        found = find_login_session(self.user, self.kwargs["session"])
        if found is None:
            raise Http404
        return found
