"""A site with the addresses for clients alone, and no page on which users enter the code of a device."""

from django.urls import include, path

from oauth_binding.authorization_server.endpoints.device_authorization import DeviceAuthorizationView

urlpatterns = [
    path(
        "oauth2/",
        include(
            (
                [
                    path(
                        "device-authorization/",
                        DeviceAuthorizationView.as_view(),
                        name="device-authorization",
                    )
                ],
                "oauth2_provider",
            )
        ),
    ),
]
