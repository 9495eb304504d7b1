"""What drf-spectacular says about the token endpoint, which is not one of Django REST framework's views."""

from __future__ import annotations

from typing import Any, Final

from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.issuing.presented_binding import MAX_VALUE_LENGTH
from oauth_binding.authorization_server.issuing.presented_name import NAME_HEADER
from oauth_binding.core.addresses import endpoint_path
from oauth_binding.core.device_names import MAX_NAME_LENGTH
from oauth_binding.core.settings import binding_settings

#: The security scheme of clients at the token endpoint.
_CLIENT: Final = "client"

#: What the token endpoint reads (RFC 6749 section 4, RFC 7636, RFC 8628, RFC 8693, RFC 8707).
_TOKEN_PARAMETERS: Final = (
    *("client_id", "client_secret", "username", "password", "scope", "refresh_token"),
    *("code", "redirect_uri", "code_verifier", "device_code", "resource"),
    *("subject_token", "subject_token_type", "actor_token", "actor_token_type", "audience"),
    "requested_token_type",
)


def describe_token_endpoint(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Add the token endpoint (RFC 6749 section 3.2) to a schema, with what tokens can be bound to.

    For ``SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"]``, in the project of the server: clients that are
    generated from the schema, and Swagger UI, can then send ``tokenBindingId``.

    :param result: the schema.
    """
    address = endpoint_path("token")
    if address is None:
        return result  # the project does not have it
    result["paths"].setdefault(address, {"post": _token_operation()})
    schemes = result.setdefault("components", {}).setdefault("securitySchemes", {})
    schemes.setdefault(
        _CLIENT, {"type": "http", "scheme": "basic", "description": "The client and its secret."}
    )
    return result


def _token_operation() -> dict[str, Any]:
    text = {"type": "string"}
    error = {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"error": text, "error_description": text},
                    "required": ["error"],
                }
            }
        }
    }
    nonce = {
        "headers": {
            "DPoP-Nonce": {
                "schema": text,
                "description": "What the next proof has to have as its `nonce`, where there is one (RFC 9449 "
                "section 8).",
            }
        }
    }
    bindings = {
        name: {**text, "maxLength": MAX_VALUE_LENGTH, "description": "What the tokens are bound to."}
        for name in binding_settings.binder_parameters
    }
    token = dict.fromkeys(("access_token", "token_type", "scope", "refresh_token", "id_token"), text)
    return {
        "operationId": "token",
        "summary": "Request an access token",
        "tags": ["oauth2"],
        "security": [{_CLIENT: []}, {}],
        "parameters": [
            {
                "name": "DPoP",
                "in": "header",
                "schema": text,
                "description": "A proof of the key that the tokens are constrained to (RFC 9449 section 4).",
            },
            {
                "name": NAME_HEADER,
                "in": "header",
                "schema": text,
                "description": "What to call a new device: up to "
                f"{MAX_NAME_LENGTH} characters, those beyond ASCII as percent-encoded UTF-8.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "grant_type": {
                                **text,
                                "enum": list(oauth2_settings.OAUTH2_GRANT_TYPES_SUPPORTED),
                            },
                            **dict.fromkeys(_TOKEN_PARAMETERS, text),
                            **bindings,
                        },
                        "required": ["grant_type"],
                    }
                }
            },
        },
        "responses": {
            "200": {
                "description": "The tokens (RFC 6749 section 5.1).",
                **nonce,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {**token, "expires_in": {"type": "integer", "minimum": 0}},
                            "required": ["access_token", "token_type"],
                        }
                    }
                },
            },
            "400": {"description": "The request is refused (RFC 6749 section 5.2).", **nonce, **error},
            "401": {"description": "The client is not known, or its secret is wrong.", **error},
            "503": {"description": "It can't be answered now.", **error},
        },
    }
