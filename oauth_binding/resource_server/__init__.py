"""APIs in a project that is not the server: access tokens that another server has issued open them.

It needs no tables, and nothing of django-oauth-toolkit in ``INSTALLED_APPS``. The setting
``OAUTH_RESOURCE_SERVER`` says whose tokens they are; this app in ``INSTALLED_APPS`` brings its system checks.
"""
