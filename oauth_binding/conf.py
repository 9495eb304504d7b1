"""The ``OAUTH_BINDING`` setting, read live."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from oauth_binding.binders.base import TokenBinder

DEFAULTS: dict[str, Any] = {
    "BINDERS": ["oauth_binding.binders.client_request.ClientRequestBinder"],
}


class BindingSettings:
    """Typed access to ``OAUTH_BINDING``."""

    @property
    def user_settings(self) -> dict[str, Any]:
        """The dict as the site wrote it; empty where it wrote none."""
        return getattr(settings, "OAUTH_BINDING", {})

    @property
    def binder_paths(self) -> list[str]:
        """Dotted paths of the installed binders."""
        return list(self.user_settings.get("BINDERS", DEFAULTS["BINDERS"]))

    @property
    def binders(self) -> Mapping[str, TokenBinder]:
        """The installed binders by their ``type``.

        :raises ImportError: a path in ``BINDERS`` can't be imported (``manage.py check``: E006).
        """
        return _load_binders(tuple(self.binder_paths))


@functools.cache
def _load_binders(paths: tuple[str, ...]) -> Mapping[str, TokenBinder]:
    binders = [import_string(path)() for path in paths]
    return {binder.type: binder for binder in binders}


binding_settings = BindingSettings()
