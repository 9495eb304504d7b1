"""The contract of a token binding type."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise
    from oauthlib.common import Request


class TokenBinder:
    """A way to bind an access token to something that its client instance has.

    Subclass it, set ``type`` and ``label``, implement ``get_binding_value``, and add the dotted
    path of the class to ``OAUTH_BINDING["BINDERS"]``.
    """

    #: The ``token_binding_type`` of applications and the ``binding_type`` in introspection and JWT claims;
    #: 1 to 64 characters, not ``none``.
    type: ClassVar[str]

    #: What operators read in the admin.
    label: ClassVar[str | _StrPromise]

    #: A line for operators that says what the tokens are bound to.
    description: ClassVar[str | _StrPromise] = ""

    #: The form parameter of the token request that carries the value, if one does: it may not be repeated
    #: and not be in the query string, and errors name it.
    parameter: ClassVar[str | None] = None

    #: Whether a token request without a value is an error (``invalid_request``) instead of a request for the
    #: shared slot. Applications can demand the same with ``require_binding``.
    required: ClassVar[bool] = False

    #: Whether the value is a thumbprint: the base64url SHA-256 of a public key or certificate. It is then not
    #: a secret, and is its own ``binding_ref``.
    is_thumbprint: ClassVar[bool] = False

    def get_binding_value(self, request: Request) -> str | None:
        """Return the binding value that a token request presents, or None.

        It is called before any credential is checked, so ``request.user`` is not known yet. A value that is
        longer than 255 characters or has control characters is then refused as ``invalid_request``.

        :param request: oauthlib's token request; its ``decoded_body`` holds the form as a list of pairs.
        :raises oauthlib.oauth2.OAuth2Error: the value that the request presents is malformed.
        """
        raise NotImplementedError
