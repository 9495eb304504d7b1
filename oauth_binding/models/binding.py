"""The binding registry."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from oauth_binding.binding.semantics import NO_BINDING, SHARED, binding_key, binding_reference
from oauth_binding.core.settings import binding_settings
from oauth_binding.models.sightings import Sighted

#: How much of the reference is shown for a binding without a name, in characters.
LABEL_LENGTH: Final = 12

#: The demands of a token policy that can be reported, and the column for when a binding last fell short.
MISSED: Final = {
    "require_binding": "binding_missed",
    "require_presented_binding": "presented_binding_missed",
    "require_sender_constraint": "proof_missed",
}


class TokenBindingManager(models.Manager["TokenBinding"]):
    """Has the bindings that tokens were issued for, but not the rows that are only a gate of devices."""

    def get_queryset(self) -> models.QuerySet[TokenBinding]:
        return super().get_queryset().filter(may_be_live__isnull=False)


class TokenBinding(Sighted):
    """What an application's tokens for one user are bound to: a device, or another client instance.

    Issuing into a slot of the binding locks this row, which stays while tokens come and go.
    """

    # Neither of these foreign keys has a constraint in the database: once this app is taken out, nothing
    # would delete the rows here before django-oauth-toolkit deletes the application or Django the user.
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="token_bindings",
        verbose_name=_("application"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        null=True,
        blank=True,
        related_name="token_bindings",
        verbose_name=_("user"),
    )
    binding_type = models.CharField(_("binding type"), max_length=64)
    binding_value = models.CharField(_("binding value"), max_length=255, blank=True)
    # Indexed for the admin's search: values are found by it.
    reference = models.CharField(_("reference"), max_length=43, blank=True, db_index=True)
    # Indexed for the same.
    name = models.CharField(_("name"), max_length=100, blank=True, db_index=True)
    # Look rows up by this: it is unique also without a user, and MariaDB compares values without case.
    key = models.CharField(max_length=64, unique=True, editable=False)
    created = models.DateTimeField(_("first seen"), default=timezone.now)
    last_used = models.DateTimeField(_("last used"), default=timezone.now)
    # When a request last fell short of a demand that is only reported; see MISSED.
    binding_missed = models.DateTimeField(_("last request without a binding"), null=True, editable=False)
    presented_binding_missed = models.DateTimeField(
        _("last API call without the binding"), null=True, editable=False
    )
    proof_missed = models.DateTimeField(_("last request without a proof"), null=True, editable=False)
    # Counts how often the row was locked: locking is a write (see storage/bindings.py).
    revision = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Whether it may have a live token: if false, it has none. Null: no token was ever issued for it, and the
    # row is only there to be locked (see storage/devices.py).
    may_be_live = models.BooleanField(null=True, default=True, db_default=True, editable=False)

    objects = TokenBindingManager()

    class Meta:
        verbose_name = _("token binding")
        verbose_name_plural = _("token bindings")
        indexes = [
            # All that counting a user's devices needs.
            models.Index(
                fields=["user", "application", "binding_type", "may_be_live"], name="oauth_binding_devices"
            )
        ]
        permissions = [
            ("revoke_tokenbinding", _("Can revoke token binding")),
            ("view_binding_value", _("Can view the whole id of a token binding")),
            # Here, because the models of tokens are django-oauth-toolkit's or the site's.
            ("revoke_accesstoken", _("Can revoke access token")),
            ("revoke_refreshtoken", _("Can revoke refresh token")),
        ]

    def __str__(self) -> str:
        # Never the binding value: __str__ ends up in logs and tracebacks.
        return f"TokenBinding #{self.pk}"

    @classmethod
    def identify(cls, client: Any, user: Any, binding_type: str, value: str) -> TokenBinding:
        """Return the unsaved binding of an identity: if there is a row for it, that has the same ``key``.

        :param client: the application.
        :param user: None if the client acts for itself (RFC 6749 section 4.4).
        :param binding_type: the ``type`` of the binder.
        :param value: what the binder returned, or ``SHARED``.
        """
        is_reference = value == SHARED or binding_is_public(binding_type)
        return cls(
            application_id=client.pk,
            user_id=None if user is None else user.pk,
            binding_type=binding_type,
            binding_value=value,
            reference=value if is_reference else binding_reference(value),
            key=binding_key(str(client.pk), None if user is None else str(user.pk), binding_type, value),
        )

    @property
    def shared_key(self) -> str:
        """The ``key`` of the shared slot of the same application, user and binding type."""
        subject = None if self.user_id is None else str(self.user_id)
        return binding_key(str(self.application_id), subject, self.binding_type, SHARED)

    def shared(self) -> TokenBinding:
        """Return the unsaved binding of that slot, as one that was never used."""
        return TokenBinding(
            application_id=self.application_id,
            user_id=self.user_id,
            binding_type=self.binding_type,
            key=self.shared_key,
            may_be_live=None,
        )

    @property
    def is_shared(self) -> bool:
        """Whether this is the binding of requests that named none; its tokens count as unbound."""
        return self.binding_value == SHARED

    @property
    def label(self) -> str:
        """What people get to see of it: its name, or else the beginning of its reference.

        Empty for a shared slot without a name. Never the binding value, which an API may ask for as a proof
        (``Token-Binding-Id``): otherwise, whoever may see where somebody is signed in could pass for each
        device.
        """
        return self.name or self.reference[:LABEL_LENGTH]

    @property
    def claims(self) -> dict[str, str]:
        """What introspection and JWTs say about the binding; nothing for the shared slot."""
        if self.is_shared:
            return {}
        return {"binding_type": self.binding_type, "binding_ref": self.reference}


def binding_is_public(binding_type: str) -> bool:
    """Return whether the values of a binding type are public, so that naming one proves nothing.

    :param binding_type: ``none``, or the type of a binder, installed or not.
    """
    if binding_type == NO_BINDING:
        return False  # even if BINDERS is wrong, which the check E006 says
    binder = binding_settings.binders.get(binding_type)
    return binder is not None and binder.is_thumbprint


def binding_type_choices() -> list[tuple[str, object]]:
    """Return the choices of ``token_binding_type``: none, then the installed binders."""
    choices: list[tuple[str, object]] = [(NO_BINDING, _("None"))]
    # Faults in BINDERS are for the check E006 to report; Django's own checks read the choices before it.
    with suppress(ImportError, AttributeError, TypeError):
        choices += [(binder.type, binder.label) for binder in binding_settings.binders.values()]
    return choices
