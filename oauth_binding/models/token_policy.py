"""What an operator sets per application in addition to the application's own table."""

from __future__ import annotations

from typing import Any, Final

from django.core.validators import MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.settings import binding_settings

#: The ``sender_constraint`` of an application whose tokens are bearer tokens.
NO_CONSTRAINT: Final = "none"

#: That of an application whose clients prove a key with DPoP (RFC 9449).
DPOP: Final = "dpop"

#: How many audiences and resources a token may be for, and how long all of them together may be, in
#: characters: they end up in JWTs, which have to fit into a header.
MAX_AUDIENCES: Final = 20
MAX_AUDIENCES_LENGTH: Final = 4_096


#: The scope of tokens that outlast a logout (OpenID Connect Core section 11).
OFFLINE_ACCESS: Final = "offline_access"

#: Where an application that has no policy keeps the one that ``policy_of`` returns.
_DEFAULT: Final = "_default_token_policy"


class Demand(models.TextChoices):
    """How strictly something is demanded of a client; the steps of turning a demand on."""

    NO = "no", _("No")
    REPORT = "report", _("Report what would be refused")
    YES = "yes", _("Yes")


class RevokeOnLogout(models.TextChoices):
    """Which of an application's tokens a logout ends."""

    NO = "no", _("Nothing")
    SESSION = "session", _("What came from the browser that is logged out")


def _seconds_field(name: Any, help_text: Any) -> models.PositiveIntegerField[int | None, int | None]:
    return models.PositiveIntegerField(
        name, null=True, blank=True, validators=[MinValueValidator(1)], help_text=help_text
    )


def _switch_field(name: Any, help_text: Any) -> models.BooleanField[bool | None, bool | None]:
    return models.BooleanField(name, null=True, blank=True, help_text=help_text)


class DeviceLimitAction(models.TextChoices):
    """What happens to a new device of a user who has as many as an application allows."""

    EVICT = "evict", _("Sign out the device that was used least recently")
    REFUSE = "refuse", _("Refuse the new device")


class TokenPolicy(models.Model):
    """What an operator sets for the tokens of an application; without a row, everything has its default.

    For what is null, the site's setting holds. Lifetimes are in seconds.
    """

    # No constraint in the database, as it would block deletes once the app is gone.
    application = models.OneToOneField(
        oauth2_settings.APPLICATION_MODEL,
        on_delete=models.CASCADE,
        db_constraint=False,
        related_name="token_policy",
        verbose_name=_("application"),
    )
    sender_constraint = models.CharField(
        _("sender constraint"),
        max_length=16,
        choices=[(NO_CONSTRAINT, _("None")), (DPOP, _("DPoP: the client proves a key of its own"))],
        default=NO_CONSTRAINT,
        db_default=NO_CONSTRAINT,
        help_text=_("What makes this application's tokens useless to whoever steals them"),
    )
    require_binding = models.CharField(
        _("require a binding"),
        max_length=16,
        choices=Demand.choices,
        default=Demand.NO,
        db_default=Demand.NO.value,
        help_text=_("What becomes of token requests that name no binding"),
    )
    require_presented_binding = models.CharField(
        _("require the binding at APIs"),
        max_length=16,
        choices=Demand.choices,
        default=Demand.NO,
        db_default=Demand.NO.value,
        help_text=_("What becomes of API requests that do not name what their token is bound to"),
    )
    require_sender_constraint = models.CharField(
        _("require a proof"),
        max_length=16,
        choices=Demand.choices,
        default=Demand.NO,
        db_default=Demand.NO.value,
        help_text=_("What becomes of token requests without a proof"),
    )
    access_token_lifetime = _seconds_field(
        _("lifetime of users' access tokens"), _("In seconds; how long an access token of a user is valid")
    )
    client_token_lifetime = _seconds_field(
        _("lifetime of the client's own access tokens"),
        _("In seconds; for access tokens by the client credentials grant"),
    )
    constrained_token_lifetime = _seconds_field(
        _("lifetime of sender-constrained access tokens"),
        _("In seconds; for access tokens that are of no use without a key"),
    )
    refresh_token_lifetime = _seconds_field(
        _("lifetime of refresh tokens"),
        _("In seconds; how long a refresh token is good after its access token has expired"),
    )
    login_lifetime = _seconds_field(
        _("lifetime of logins"),
        _("In seconds; when its tokens end, however often they are refreshed"),
    )
    rotate_refresh_tokens = _switch_field(
        _("rotate refresh tokens"), _("Answer each refresh with a new refresh token")
    )
    refresh_token_reuse_protection = _switch_field(
        _("refresh token reuse protection"),
        _("End a login whose used refresh token is sent again"),
    )
    reuse_min_lifetime = models.PositiveIntegerField(
        _("least lifetime of a token that is returned again"),
        null=True,
        blank=True,
        help_text=_("In seconds; an opaque access token with less left is replaced, and not returned again"),
    )
    allowed_audiences = models.TextField(
        _("allowed audiences"),
        blank=True,
        default="",
        db_default="",
        help_text=_("What this application's tokens may be for, separated by white space. Empty: anything"),
    )
    default_audiences = models.TextField(
        _("default audiences"),
        blank=True,
        default="",
        db_default="",
        help_text=_("What they are for where the client asks for nothing, separated by white space"),
    )
    claims = models.TextField(
        _("claims"),
        blank=True,
        default="",
        db_default="",
        help_text=_("What JWT access tokens, and the introspection of opaque ones, say of the user"),
    )
    max_devices = models.PositiveIntegerField(
        _("devices per user"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("On how many devices a user can be signed in at once; empty for the site's limit"),
    )
    device_limit_action = models.CharField(
        _("beyond the limit"),
        max_length=16,
        choices=DeviceLimitAction.choices,
        default=DeviceLimitAction.EVICT,
        db_default=DeviceLimitAction.EVICT.value,
        help_text=_("What becomes of a new device of a user who already has that many"),
    )
    revoke_on_logout = models.CharField(  # noqa: DJ001
        _("a logout ends"),
        max_length=16,
        choices=RevokeOnLogout.choices,
        null=True,
        blank=True,
        help_text=_("Which tokens end when a user logs out in a browser"),
    )
    backchannel_logout_uri = models.CharField(
        _("back-channel logout URI"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Where the application is told that a login session has ended; https"),
    )
    backchannel_logout_session_required = models.BooleanField(
        _("back-channel logout needs a session id"),
        default=False,
        db_default=False,
        help_text=_("Whether the application needs the claim sid in logout tokens; it is always there"),
    )

    class Meta:
        verbose_name = _("token policy")
        verbose_name_plural = _("token policies")

    def __str__(self) -> str:
        return f"TokenPolicy #{self.pk}"

    @property
    def demands_proof(self) -> bool:
        """Whether token requests without a proof are refused."""
        return self.sender_constraint != NO_CONSTRAINT and self.require_sender_constraint == Demand.YES

    @property
    def reports_proof(self) -> bool:
        """Whether token requests without a proof are let through and reported."""
        return self.sender_constraint != NO_CONSTRAINT and self.require_sender_constraint == Demand.REPORT

    def token_lifetime(self, *, is_clients_own: bool, is_constrained: bool) -> int | None:
        """Return how long a kind of access token is valid, in seconds; None if the site decides.

        :param is_clients_own: whether it belongs to no user (RFC 6749 section 4.4).
        :param is_constrained: whether it is sender-constrained, which takes precedence over whose it is.
        """
        own = self.client_token_lifetime if is_clients_own else self.access_token_lifetime
        if is_constrained and self.constrained_token_lifetime is not None:
            return self.constrained_token_lifetime
        return own

    @property
    def restricts_audiences(self) -> bool:
        """Whether it restricts what tokens may be for."""
        return bool(self.allowed_audiences or self.default_audiences)

    def allows_audience(self, audience: str) -> bool:
        """Return whether tokens may be for an audience or a resource.

        :param audience: the text in the request (RFC 8693 section 2.1, RFC 8707 section 2), which is compared
            letter by letter.
        """
        allowed = self.allowed_audiences.split()
        return not allowed or audience in allowed

    @property
    def device_limit(self) -> int | None:
        """On how many devices a user can be signed in at once; None for no limit."""
        return binding_settings.max_devices if self.max_devices is None else self.max_devices

    @property
    def ends_with_session(self) -> bool:
        """Whether tokens end when the browser that they came from is logged out."""
        return self.revoke_on_logout == RevokeOnLogout.SESSION

    @property
    def refuses_devices(self) -> bool:
        """Whether a device beyond the limit is refused, rather than another one being signed out for it."""
        return self.device_limit_action == DeviceLimitAction.REFUSE


def policy_of(application: Any) -> TokenPolicy:
    """Return the token policy of an application: its row, or a policy with all defaults.

    :param application: a row of the application model, saved or not.
    :returns: the row, or one that is not saved.
    """
    # A request asks for it ten times, and an exception each time takes longer than all else.
    relation: Any = TokenPolicy.application.field.remote_field
    if relation.is_cached(application):
        policy: TokenPolicy | None = relation.get_cached_value(application)
    else:
        policy = getattr(application, "token_policy", None)
    if policy is not None:
        return policy
    attributes = vars(application)
    if _DEFAULT not in attributes:
        attributes[_DEFAULT] = TokenPolicy()
    default: TokenPolicy = attributes[_DEFAULT]
    return default


def protects_from_reuse(application: Any) -> bool:
    """Return whether a login of an application ends when a used refresh token comes again."""
    own = policy_of(application).refresh_token_reuse_protection
    return bool(oauth2_settings.REFRESH_TOKEN_REUSE_PROTECTION) if own is None else own
