"""How many live bindings a user or an application has: a line on their page, which leads to the list."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.console.end_all import end_all_url
from oauth_binding.console.lines import Line, LineInline
from oauth_binding.core.databases import written
from oauth_binding.models import TokenBinding
from oauth_binding.storage.liveness import live_access_tokens, live_refresh_tokens

#: How many bindings that may have live tokens are looked at, so that neither many live ones nor many others
#: make a page slow.
MAX_LOOKED_AT: Final = 2000


def newest_live(bindings: QuerySet[Any]) -> tuple[set[Any], bool]:
    """Return which of the newest of some bindings have live tokens, and whether there are older ones.

    :param bindings: a queryset of those that may have live tokens (``TokenBinding.may_be_live``), not sliced.
    :returns: their primary keys.
    """
    pks = list(bindings.order_by("-pk").values_list("pk", flat=True)[: MAX_LOOKED_AT + 1])
    newest = pks[:MAX_LOOKED_AT]
    # If this were a condition of the bindings, PostgreSQL would read all tokens that are live.
    live = {
        pk
        for tokens, condition in (
            (get_access_token_model().objects, live_access_tokens()),
            (get_refresh_token_model().objects, live_refresh_tokens()),
        )
        for pk in tokens.using(bindings.db)
        .filter(condition, binding__in=newest)
        .order_by()
        .values_list("binding", flat=True)
        .distinct()
    }
    return live, len(pks) > MAX_LOOKED_AT


class LiveBindings(Line):
    """The live bindings of a user or an application."""

    filters: ClassVar[dict[str, str]] = {"live": "yes"}

    @property
    def text(self) -> str:
        """How many there are; if there are a great many, how many at least."""
        bindings = written(TokenBinding).filter(may_be_live=True, **{self.fk.name: self.instance})
        live, is_cut = newest_live(bindings)
        at_least, exactly = (
            gettext("At least %(number)d with live tokens"),
            gettext("%(number)d with live tokens"),
        )
        return (at_least if is_cut else exactly) % {"number": len(live)}


class LiveBindingsInline(LineInline):
    """A line on the page of a user or an application, for whoever may look at bindings.

    It is added automatically to the pages of applications, and of users at Django's own site.
    """

    model = TokenBinding
    formset = LiveBindings

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        formset: Any = super().get_formset(request, obj, **kwargs)
        bindings: Any = (
            self.admin_site.get_model_admin(TokenBinding)
            if self.admin_site.is_registered(TokenBinding)
            else None
        )
        if obj is not None and bindings is not None and bindings.has_revoke_permission(request):
            formset.end_all_url = end_all_url(self.admin_site, formset.fk.name, obj.pk)
        return formset
