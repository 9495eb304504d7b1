"""models.py of a site with an application model of its own."""

from oauth_binding.models import BoundApplication


class Application(BoundApplication):
    pass
