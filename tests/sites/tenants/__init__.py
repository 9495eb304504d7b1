"""The app of a site with django-tenants that has its tenants, each with a schema of its own on PostgreSQL."""
