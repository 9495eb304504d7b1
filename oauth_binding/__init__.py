"""Client-request token binding for django-oauth-toolkit."""

__version__ = "0.1.0"

#: The ``OAUTH2_PROVIDER`` entries this app needs, to be spread into a site's settings::
#:
#:     OAUTH2_PROVIDER = {**oauth_binding.OAUTH2_PROVIDER_ENTRIES, "SCOPES": {...}}
OAUTH2_PROVIDER_ENTRIES = {
    "OAUTH2_VALIDATOR_CLASS": "oauth_binding.authorization_server.BindingOAuth2Validator",
    "OAUTH2_BACKEND_CLASS": "oauth_binding.authorization_server.BindingOAuthLibCore",
    "ACCESS_TOKEN_GENERATOR": "oauth_binding.authorization_server.generate_access_token",
    "REFRESH_TOKEN_GENERATOR": "oauth_binding.authorization_server.generate_refresh_token",
    "APPLICATION_ADMIN_CLASS": "oauth_binding.console.BindingApplicationAdmin",
    "ACCESS_TOKEN_ADMIN_CLASS": "oauth_binding.console.BoundAccessTokenAdmin",
    "GRANT_ADMIN_CLASS": "oauth_binding.console.ReadOnlyGrantAdmin",
    "ID_TOKEN_ADMIN_CLASS": "oauth_binding.console.ReadOnlyIDTokenAdmin",
    "REFRESH_TOKEN_ADMIN_CLASS": "oauth_binding.console.BoundRefreshTokenAdmin",
}
