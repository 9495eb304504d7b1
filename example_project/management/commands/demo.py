"""``python manage.py demo``: bound and sender-constrained tokens on a running server, step by step."""

import json
import signal
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

import requests
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from example_project.demo.accounts import (
    Credentials,
    create_administrator,
    create_api,
    create_application,
    create_application_with_keys,
    create_backend,
    create_user,
)
from example_project.demo.client import Client, Exchange
from example_project.demo.server import Server, ServerError, running_api, running_server
from example_project.demo.story import ExchangeStory, KeyStory, OtherMachineStory, Step, Story
from oauth_binding.binding.semantics import TokenType

_APPLICATIONS = {"JWT": TokenType.JWT, "Opaque": TokenType.OPAQUE}

_TOKENS = ("access_token", "refresh_token")
_DETAILS = (
    *("token_type", "expires_in", "issued_token_type"),
    *("active", "binding_type", "binding_ref", "cnf", "username"),
    *("error", "error_description", "detail"),
)

_CURL_LINES = "the curl lines work, but for those with a proof, which works once"


class Command(BaseCommand):
    help = "Play token binding and proofs on a running server, and compare it with what is documented."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--serve", action="store_true", help="leave the servers up until Ctrl-C")

    def handle(self, *args: Any, serve: bool, **options: Any) -> None:
        # Both end the command as Ctrl-C does, also in the background, so that the server never outlives it.
        for ending in (signal.SIGINT, signal.SIGTERM):
            signal.signal(ending, signal.default_int_handler)
        try:
            call_command("migrate", verbosity=0, interactive=False)
            administrator, user = create_administrator(), create_user()
            api_application = create_api("Demo API", administrator)
            with running_server() as server, running_api(server, api_application) as api:
                self.stdout.write(f"The server is at {server.address}/, its database is {_database()}.")
                self.stdout.write(f"The API on another machine is at {api.address}/, and has no database.")
                self.stdout.write("Tokens are called by their tokenBindingId and a number, as in phone-2.")
                steps = self._play_stories(server, api, administrator, user)
                self._summarize(steps)
                if serve:
                    self._serve(server, administrator)
                else:
                    self.stdout.write(
                        f"The servers are stopped. With --serve they stay up, and {_CURL_LINES}."
                    )
        except ServerError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=130) from None
        if any(step.differences for step in steps):
            raise CommandError("The server does not behave as documented.")

    def _play_stories(
        self, server: Server, api: Server, administrator: Credentials, user: Credentials
    ) -> list[Step]:
        steps = []
        for heading, story in _stories(server.address, api.address, administrator, user):
            self.stdout.write("\n" + self.style.MIGRATE_HEADING(heading))
            try:
                for number, step in enumerate(story.play(), start=1):
                    self._write_step(number, step)
                    steps.append(step)
            except requests.RequestException as error:
                raise server.error(f"did not answer ({error})") from error
        return steps

    def _write_step(self, number: int, step: Step) -> None:
        write = self.stdout.write
        write("\n" + self.style.MIGRATE_LABEL(f"{number}. {step.title}"))
        for exchange in (step.exchange, step.introspection):
            if exchange is not None:
                write(f"   $ {exchange.curl}")
                write(f"   {_answer(exchange)}")
        write(f"   every token so far: active {_names(step.active)}; inactive {_names(step.inactive)}")
        if step.differences:
            write("   " + self.style.ERROR(f"✗ documented: {step.documented}"))
            for difference in step.differences:
                write("     " + self.style.ERROR(f"but {difference}"))
        else:
            write("   " + self.style.SUCCESS(f"✓ as documented: {step.documented}"))

    def _summarize(self, steps: list[Step]) -> None:
        different = sum(bool(step.differences) for step in steps)
        style = self.style.ERROR if different else self.style.SUCCESS
        line = f"{len(steps)} steps: {len(steps) - different} as documented, {different} not."
        self.stdout.write("\n" + style(line))

    def _serve(self, server: Server, administrator: Credentials) -> None:
        self.stdout.write(f"The servers stay up until Ctrl-C, and {_CURL_LINES}.")
        self.stdout.write(f"Admin:    {server.address}/admin/")
        self.stdout.write(f"Login:    {administrator.name}")
        self.stdout.write(f"Password: {administrator.password}")
        self.stdout.flush()
        try:
            server.wait()
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")


def _stories(
    address: str, api: str, administrator: Credentials, user: Credentials
) -> Iterator[tuple[str, Story]]:
    """Return each story with its heading; its applications are made when it is its turn."""
    for name, token_type in _APPLICATIONS.items():
        application = create_application(f"Demo {name}", token_type, administrator)
        client = Client(address, application, user)
        yield f"{name} tokens", Story(client, token_type)
        backend = create_backend(f"Demo {name} backend", token_type, administrator, application)
        exchange_story = ExchangeStory(client, Client(address, backend, user), token_type)
        yield f"{name} tokens, exchanged", exchange_story
        keyed = create_application_with_keys(f"Demo {name} with keys", token_type, administrator)
        device, thief = Client(address, keyed, user), Client(address, keyed, user)
        yield f"{name} tokens, protected by a key", KeyStory(device, thief, api, token_type)
        yield f"{name} tokens, on another machine", OtherMachineStory(client, api, token_type)


def _database() -> str:
    return str(settings.DATABASES["default"]["NAME"])


def _answer(exchange: Exchange) -> str:
    """Return the status, and what the story is about of the rest."""
    data = exchange.data
    tokens = [f"{name} {_shortened(data[name])}" for name in _TOKENS if name in data]
    details = [f"{name} {json.dumps(data[name])}" for name in _DETAILS if name in data]
    if exchange.error and "error" not in data:
        details.append(f"error {json.dumps(exchange.error)}")
    if exchange.nonce:
        details.append(f"DPoP-Nonce {_shortened(exchange.nonce)}")
    return f"{exchange.status} {', '.join(tokens + details)}".rstrip()


def _shortened(token: str) -> str:
    # The end counts: all JWTs begin alike.
    return f"{token[:6]}…{token[-6:]}"


def _names(names: list[str]) -> str:
    return ", ".join(names) or "none"
