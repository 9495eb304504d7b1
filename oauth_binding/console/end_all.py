"""Ending everything of a user, of an application, or in the list of bindings, whatever the number.

A page says what is going to end, and asks. Each request then ends as much as it can in a short time, and is
answered with a page that shows the progress and posts the next request. The progress is in that form, signed:
no task goes on by itself, and whoever closes the window and begins again ends the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Final, NamedTuple, cast

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import gettext, ngettext
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.end_all import (
    MAX_COUNTED,
    EndingAll,
    Progress,
    all_of_application,
    all_of_bindings,
    all_of_user,
)
from oauth_binding.console.links import list_url, query_of_rows
from oauth_binding.core.databases import deciding, write_alias
from oauth_binding.models import TokenBinding

#: How long a single request goes on ending rows, in seconds.
REQUEST_SECONDS: Final = 0.5

#: How long a page may wait before it goes on, in seconds.
MAX_PAUSE: Final = 86_400

_NAME: Final = "oauth_binding_tokenbinding_end_all"


class Target(NamedTuple):
    """What is ended, for use on a page."""

    #: In words.
    text: str
    #: What ends beside the numbers.
    question: str
    ending: EndingAll
    #: The row whose history notes it; None if it is not about a single row.
    obj: Any
    #: Where the page leads back to.
    back: str


def end_all_url(admin_site: Any, kind: str, pk: Any) -> str:
    """Return the address of the page that ends all of a user or an application.

    :param kind: ``user`` or ``application``.
    :param pk: the primary key.
    """
    return reverse(f"admin:{_NAME}_of", args=(kind, quote(pk)), current_app=admin_site.name)


def end_all_urls(model_admin: Any) -> list[URLPattern]:
    """Return the addresses of the pages, for the admin of bindings."""

    def wrap(view: Callable[..., HttpResponse]) -> Any:
        wrapped: Any = model_admin.admin_site.admin_view(deciding()(partial(view, model_admin)))
        # With ATOMIC_REQUESTS a request would keep its locks until it is answered.
        for alias in connections:
            wrapped = transaction.non_atomic_requests(using=alias)(wrapped)
        return wrapped

    return [
        path("end-all/", wrap(_end_all_of_list), name=_NAME),
        path("end-all/<str:kind>/<path:object_id>/", wrap(_end_all_of_holder), name=f"{_NAME}_of"),
    ]


def _end_all_of_holder(model_admin: Any, request: HttpRequest, kind: str, object_id: str) -> HttpResponse:
    models = {"user": get_user_model(), "application": get_application_model()}
    _check_permission(model_admin, request)
    if kind not in models:
        raise Http404
    obj = _find(model_admin.admin_site, request, models[kind], unquote(object_id))
    back = _page_of(model_admin, obj)
    if kind == "user":
        target = Target(
            gettext("User %(name)s") % {"name": obj.get_username()},
            gettext(
                "The user will be signed out everywhere: all access and refresh tokens end, bound to a "
                "device or not, with the codes that are not redeemed yet, and the login sessions."
            ),
            all_of_user(obj),
            obj,
            back,
        )
    else:
        target = Target(
            gettext("Application %(name)s") % {"name": obj},
            gettext(
                "Everybody will be signed out of this application: all access and refresh tokens end, bound "
                "to a device or not, with the codes that are not redeemed yet."
            ),
            all_of_application(obj),
            obj,
            back,
        )
    return _answer(model_admin, request, lambda query: target, "")


def _find(site: Any, request: HttpRequest, model: Any, pk: str) -> Any:
    """Return a row that the operator can see in the admin, if the admin has a page for it."""
    if site.is_registered(model):
        obj = site.get_model_admin(model).get_object(request, pk)
    else:
        try:
            obj = model._default_manager.using(write_alias(model)).filter(pk=pk).first()
        except (ValueError, ValidationError):
            obj = None
    if obj is None:
        raise Http404
    return obj


def _end_all_of_list(model_admin: Any, request: HttpRequest) -> HttpResponse:
    _check_permission(model_admin, request)
    query = query_of_rows(request).urlencode()
    try:
        return _answer(model_admin, request, partial(_listed, model_admin, request), query)
    except IncorrectLookupParameters:
        return HttpResponseRedirect(list_url(model_admin.admin_site, TokenBinding))


def _check_permission(model_admin: Any, request: HttpRequest) -> None:
    if not model_admin.has_revoke_permission(request):
        raise PermissionDenied


# What a list shows


class Matching(ChangeList):
    """What a list would show, without reading or counting any of it."""

    def get_results(self, request: HttpRequest) -> None:
        pass


def is_end_all(request: HttpRequest) -> bool:
    """Return whether a request is for a page that ends what a list shows."""
    match = request.resolver_match
    return match is not None and match.url_name == _NAME


def _listed(model_admin: Any, request: HttpRequest, query: str) -> Target:
    """Return what a list shows.

    :param query: the query of its address.
    :raises IncorrectLookupParameters: the query is not one of a list.
    """
    sent, request.GET = request.GET, QueryDict(query)
    try:
        listing = model_admin.get_changelist_instance(request)
        text = "; ".join(_words(request, listing)) or gettext("All token bindings")
    finally:
        request.GET = sent
    return Target(
        text,
        gettext("All access and refresh tokens of these token bindings will be revoked, however many."),
        all_of_bindings(listing.queryset.using(write_alias(TokenBinding)).prefetch_related(None)),
        None,
        list_url(model_admin.admin_site, TokenBinding, query),
    )


def _words(request: HttpRequest, listing: Any) -> Iterator[str]:
    """Yield what narrows a list, each item as a name and a value."""
    known: set[str] = set()
    if listing.query:
        yield gettext("Search: %(text)s") % {"text": listing.query}
    for each in listing.filter_specs:
        known |= set(each.expected_parameters())
        if not set(each.expected_parameters()).isdisjoint(request.GET):
            chosen = [choice["display"] for choice in each.choices(listing) if choice["selected"]]
            yield f"{capfirst(each.title)}: {', '.join(map(str, chosen))}"
    for name, (*_others, value) in listing.get_filters_params().items():
        if name not in known:
            # A link from another page, such as that of a user.
            column = listing.opts.get_field(name.partition("__")[0])
            row = None
            if column.is_relation and name.endswith("__exact"):
                lookup = name.partition("__")[2]
                row = column.related_model._base_manager.filter(**{lookup: value}).first()
            yield f"{capfirst(column.verbose_name)}: {value if row is None else row}"


# Asking, and going on


def _answer(
    model_admin: Any, request: HttpRequest, find: Callable[[str], Target], query: str
) -> HttpResponse:
    """Ask, or go on, or begin.

    :param find: returns what to end, given the query of a list.
    :param query: the one that is asked about.
    """
    if request.method != "POST":
        target = find(query)
        total = target.ending.count()
        return _page(model_admin, request, target, total=total, state={"query": query})
    state = _read(request)
    if state is None:
        message = gettext("This page is too old. Begin again: what has ended stays ended.")
        model_admin.message_user(request, message, messages.ERROR)
        # The address of a list does not say which rows are meant.
        listed = list_url(model_admin.admin_site, TokenBinding)
        return HttpResponseRedirect(listed if is_end_all(request) else request.path)
    target = find(state["query"])
    if "progress" not in state:
        # What is there now, not what was there when the question was shown.
        state |= {"progress": asdict(Progress()), "total": target.ending.count()}
        state["entry"] = _note_begun(request, target)
    progress = target.ending.go_on(Progress(**state["progress"]), REQUEST_SECONDS)
    state["progress"] = asdict(progress)
    is_done = target.ending.is_done(progress)
    lines = _lines(progress.ended, state["total"], is_done=is_done)
    _note(state["entry"], lines)
    return _page(
        model_admin, request, target, total=state["total"], state=state, lines=lines, progress=progress
    )


def _page(
    model_admin: Any,
    request: HttpRequest,
    target: Target,
    *,
    total: dict[str, int],
    state: dict[str, Any],
    lines: list[str] | None = None,
    progress: Progress | None = None,
) -> HttpResponse:
    ended = {} if progress is None else progress.ended
    is_done = progress is not None and target.ending.is_done(progress)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": gettext("Ended") if is_done else gettext("End all"),
        "opts": model_admin.opts,
        "media": model_admin.media,
        "target": target,
        "lines": _lines({}, total) if lines is None else lines,
        "has_begun": progress is not None,
        "is_done": is_done,
        "value": sum(min(ended.get(name, 0), number) for name, number in total.items()),
        "maximum": sum(total.values()) or 1,
        "state": "" if is_done else _sign(request, state),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/oauth_binding/tokenbinding/end_all.html", context)


def _sign(request: HttpRequest, state: dict[str, Any]) -> str:
    return signing.dumps(state, salt=_salt(request), compress=True)


def _read(request: HttpRequest) -> dict[str, Any] | None:
    """Return what was signed for the same page and operator; None if it is something else, or too old."""
    try:
        state: dict[str, Any] = signing.loads(
            request.POST.get("state", ""), salt=_salt(request), max_age=MAX_PAUSE
        )
    except signing.BadSignature:
        return None
    return state


def _salt(request: HttpRequest) -> str:
    return f"oauth_binding end all {request.user.pk} {request.path}"


def _page_of(model_admin: Any, obj: Any) -> str:
    """Return the address of the page of a user or an application, or of the list if there is no such page."""
    site, options = model_admin.admin_site, obj._meta
    if not site.is_registered(type(obj)):
        return list_url(site, TokenBinding)
    name = f"admin:{options.app_label}_{options.model_name}_change"
    return reverse(name, args=(quote(obj.pk),), current_app=site.name)


# Numbers in words


def _count(name: str, number: int) -> str:
    if number > MAX_COUNTED:
        return {
            "bindings": gettext("More than %(number)s token bindings"),
            "tokens": gettext("More than %(number)s tokens that are bound to nothing"),
            "sessions": gettext("More than %(number)s login sessions"),
        }[name] % {"number": number_format(MAX_COUNTED, force_grouping=True)}
    return {
        "bindings": ngettext("%(number)s token binding", "%(number)s token bindings", number),
        "tokens": ngettext(
            "%(number)s token that is bound to nothing", "%(number)s tokens that are bound to nothing", number
        ),
        "sessions": ngettext("%(number)s login session", "%(number)s login sessions", number),
    }[name] % {"number": number_format(number, force_grouping=True)}


def _lines(ended: dict[str, int], total: dict[str, int], *, is_done: bool | None = None) -> list[str]:
    """Return what has ended, and, as long as there is more, out of how many.

    :param is_done: None if it has not begun.
    """
    if is_done is None:
        lines = [_count(name, number) for name, number in total.items() if number]
        return lines or [gettext("No token binding, token or login session.")]
    if is_done:
        # What has ended in other ways meanwhile is not counted, but what was added before it began is.
        lines = [_count(name, number) for name, number in ended.items() if number]
        return [gettext("Ended: %(what)s.") % {"what": line} for line in lines] or [
            gettext("There was nothing to end.")
        ]
    return [
        gettext("%(ended)s of %(what)s ended.")
        % {
            "ended": number_format(ended.get(name, 0), force_grouping=True),
            "what": _lower(_count(name, number)),
        }
        for name, number in total.items()
        if number
    ]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# The history


def _note_begun(request: HttpRequest, target: Target) -> Any:
    """Note in the history that ending has begun, and return the primary key of the entry.

    From then on, the entry says how far ending has come, even if it stops.
    """
    obj, user = target.obj, request.user
    entry = LogEntry.objects.create(
        user_id=cast(Any, user.pk),
        content_type=ContentType.objects.get_for_model(
            TokenBinding if obj is None else obj, for_concrete_model=False
        ),
        object_id=None if obj is None else obj.pk,
        object_repr=(target.text if obj is None else str(obj))[:200],
        action_flag=CHANGE,
    )
    return entry.pk


def _note(entry: Any, lines: list[str]) -> None:
    message = gettext("End all. %(what)s") % {"what": " ".join(lines)}
    LogEntry.objects.filter(pk=entry).update(change_message=message)
