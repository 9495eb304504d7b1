"""The people and the applications of the site."""

from __future__ import annotations

from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model

from oauth_binding.models import TokenExchangeRule, TokenPolicy
from tests.helpers.browser import PEOPLE
from tests.helpers.client import REDIRECT_URI

#: With all that clients have to encode in their credentials (RFC 6749 section 2.3.1).
SECRET = "a secret: 100 % of it, + more & öther"

_CODE = {
    "authorization_grant_type": "authorization-code",
    "redirect_uris": REDIRECT_URI,
    "algorithm": "RS256",
}
_BOUND = {"token_binding_type": "client-request"}
_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"

#: From where the single-page application is served, and where it gets its codes.
PAGES = "https://app.example"
CALLBACK = f"{PAGES}/app.html"

#: client_id -> the fields of the application
APPLICATIONS = {
    # A server-side web application, with opaque tokens.
    "web": {**_CODE, **_BOUND, "client_type": "confidential"},
    # An app on a phone, with JWTs.
    "mobile": {**_CODE, **_BOUND, "client_type": "public", "token_type": "jwt"},
    # A television.
    "tv": {
        **_BOUND,
        "client_type": "public",
        "authorization_grant_type": _DEVICE_CODE,
    },
    # A backend that acts for itself, and for the users of the app on the phone.
    "backend": {
        "client_type": "confidential",
        "authorization_grant_type": "client-credentials",
        "additional_grant_types": "token-exchange",
        "token_type": "jwt",
    },
}

#: client_id -> the fields of the application, which gets no tokens without a proof of a key (RFC 9449).
KEYED = {
    "keyed-web": {**_CODE, **_BOUND, "client_type": "confidential"},
    "keyed-mobile": {**_CODE, **_BOUND, "client_type": "public", "token_type": "jwt"},
    "keyed-page": {
        **_CODE,
        "redirect_uris": CALLBACK,
        "allowed_origins": PAGES,
        "client_type": "public",
        "token_type": "jwt",
    },
    "keyed-tv": {**_BOUND, "client_type": "public", "authorization_grant_type": _DEVICE_CODE},
    "keyed-backend": {
        "client_type": "confidential",
        "authorization_grant_type": "client-credentials",
        "additional_grant_types": "password",
    },
}


def populate() -> None:
    User.objects.create_user("alice", password=PEOPLE["alice"])
    made = {}
    for client_id, fields in {**APPLICATIONS, **KEYED}.items():
        application = get_application_model()(
            client_id=client_id, client_secret=SECRET, name=client_id, **fields
        )
        application.full_clean()
        application.save()
        made[client_id] = application
    TokenExchangeRule.objects.create(
        client=made["backend"], subject_client=made["mobile"], impersonation=True
    )
    for client_id in KEYED:
        demands = {"sender_constraint": "dpop", "require_sender_constraint": "yes"}
        TokenPolicy.objects.create(application=made[client_id], **demands)
