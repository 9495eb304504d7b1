"""The example project, as it serves the clients: anybody registers, and every answer says who it is from."""

from example_project.settings import *  # noqa: F403
from example_project.settings import OAUTH2_PROVIDER

ROOT_URLCONF = "tests.clients.server.urls"

# Cheap on purpose, as in the settings of the suite.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

OAUTH2_PROVIDER = {
    **OAUTH2_PROVIDER,
    "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
    "DCR_ENABLED": True,
    "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.AllowAllDCRPermission",),
    "DEVICE_FLOW_INTERVAL": 2,
    "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
}
