"""``manage.py createapplication``: django-oauth-toolkit's command, with all that this app lets operators set.

If two apps have a command of the same name, Django uses that of the first in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import models, transaction
from oauth2_provider.management.commands import createapplication
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.issuing.application_rules import type_problems
from oauth_binding.core.databases import write_alias
from oauth_binding.models import ApplicationBindingFields, TokenPolicy, policy_problems


def _policy_fields() -> list[Any]:
    return [
        field for field in TokenPolicy._meta.fields if not (field.primary_key or field.name == "application")
    ]


class Command(createapplication.Command):
    help = (
        "Create an application, with its token type, token binding type and token policy. "
        "If something can't work, it is refused, and nothing is created."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        for field in ApplicationBindingFields._meta.local_fields:
            _add_option(parser, field)
        policy = parser.add_argument_group("token policy")
        for field in _policy_fields():
            _add_option(policy, field)

    def handle(self, *args: Any, **options: Any) -> None:
        policy_names = {field.name for field in _policy_fields()}
        policy = TokenPolicy(**{name: options[name] for name in policy_names if options[name] is not None})
        model = get_application_model()
        # As in django-oauth-toolkit: what is not given has its default.
        names = {field.name for field in model._meta.fields} - policy_names
        given = {
            "user_id" if name == "user" else name: value
            for name, value in options.items()
            if name in names and (isinstance(value, bool) or value)
        }
        application = model(**given)
        problems = _problems(application, policy)
        if problems:
            lines = [f"  {field}: {message}" for field, messages in problems.items() for message in messages]
            raise CommandError("\n".join(["Nothing was created. Correct these:", *lines]))
        secret = application.client_secret  # it is hashed when it is saved
        with transaction.atomic(using=write_alias(model)):
            application.save()
            if any(options[name] is not None for name in policy_names):
                policy.application = application
                policy.save()
        name = given.get("name", application.client_id)
        self.stdout.write(self.style.SUCCESS(f"New application {name} created successfully."))
        if "client_secret" not in given:
            self.stdout.write(self.style.SUCCESS(f"client_secret: {secret}"))


def _add_option(parser: Any, field: Any) -> None:
    """Add the option for a field of a model; None means that it is not given."""
    kind: dict[str, Any] = {}
    if isinstance(field, models.BooleanField):
        kind["action"] = BooleanOptionalAction if field.null else "store_true"
    elif field.flatchoices:
        kind["choices"] = [value for value, _label in field.flatchoices if value]
    elif isinstance(field, models.IntegerField):
        kind |= {"type": int, "metavar": "NUMBER"}
    else:
        kind["metavar"] = "TEXT"
    # A percent sign would begin a placeholder for argparse.
    text = str(field.help_text).replace("%", "%%")
    parser.add_argument(f"--{field.name.replace('_', '-')}", default=None, help=text, **kind)


def _problems(application: Any, policy: TokenPolicy) -> dict[str, list[str]]:
    """Return what can't work in an application and its token policy, by field, as the admin's form says it.

    :param application: one that is not saved.
    :param policy: likewise, without its application.
    """
    found: dict[str, list[ValidationError]] = {}
    is_clean = _note(found, application.full_clean) and _note(found, application.clean_allowed_grant_types)
    if is_clean:
        of_types = type_problems(
            token_type=application.token_type,
            access_token_algorithm=application.access_token_algorithm,
            token_binding_type=application.token_binding_type,
            grant_types=application.allowed_grant_types,
        )
        for field, error in of_types:
            found.setdefault(field, []).append(error)
    if _note(found, lambda: policy.full_clean(exclude=["application"])) and is_clean:
        for field, error in policy_problems(application, policy):
            found.setdefault(field, []).append(error)
    return {field: [text for error in errors for text in error.messages] for field, errors in found.items()}


def _note(found: dict[str, list[ValidationError]], clean: Any) -> bool:
    """Validate something, note faults by field, and return whether there are none."""
    try:
        clean()
    except ValidationError as error:
        error.update_error_dict(found)
        return False
    return True
