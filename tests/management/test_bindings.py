"""``manage.py bindings``: what operators see of bindings, and end."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oauth_binding.authorization_server import revoke_binding
from oauth_binding.core.moments import as_kept
from oauth_binding.management.commands import bindings
from oauth_binding.models import TokenBinding
from oauth_binding.signals import binding_revoked
from oauth_binding.storage.chunks import CHUNK_SIZE
from tests.helpers.client import PASSWORD, Site, make_application
from tests.helpers.project import Project, migrate
from tests.helpers.rows import access_token_row, expire, refresh_token_row

Capture = Callable[..., AbstractContextManager[Any]]


def run(*arguments: str) -> str:
    output = StringIO()
    call_command("bindings", *arguments, stdout=output, no_color=True)
    return output.getvalue()


def listed(*arguments: str) -> list[dict[str, Any]]:
    """Return what is listed, having seen that the lines for people are of the same, and the number, too."""
    objects = [json.loads(line) for line in run(*arguments, "--json").splitlines()]
    lines = run(*arguments).splitlines()
    assert [line.split("  ")[0] for line in lines] == [str(each["id"]) for each in objects]
    assert run(*arguments, "--count") == f"{len(objects)}\n"
    return objects


def names(*arguments: str) -> list[str]:
    """Return the names of the bindings that are listed, in order."""
    return [each["name"] for each in listed(*arguments)]


@pytest.fixture
def mail(make_bound: Callable[..., Site]) -> Site:
    return make_bound()


@pytest.fixture
def calendar(make_bound: Callable[..., Site]) -> Site:
    """Another application, which bob uses."""
    bob = User.objects.create_user("bob", "bob@example.com", PASSWORD)
    return make_bound("jwt", as_user=bob)


@pytest.fixture
def tokens(mail: Site, calendar: Site) -> dict[str, Any]:
    """Bindings that are named like what the clients have sent, in the order in which they were made."""
    answers = {
        # Its number is that of the gate, which the first device of the user has made.
        "shared": mail.bound(None),
        "phone": mail.bound("phone"),
        "tablet": mail.bound("tablet"),
        "watch": calendar.bound("watch"),
        "desk": calendar.bound("desk"),
    }
    for name, answer in answers.items():
        binding = access_token_row(answer.access).binding
        TokenBinding.objects.filter(pk=binding.pk).update(name=name)
    mail.revoke(answers["tablet"].access)
    return answers


class TestWhatIsListed:
    def test_all_come_by_their_numbers(self, tokens: Any) -> None:
        assert names() == ["shared", "phone", "tablet", "watch", "desk"]

    def test_none_is_no_error(self, db: None) -> None:
        assert names() == []

    def test_what_is_said_of_one(self, mail: Site, tokens: Any) -> None:
        binding = TokenBinding.objects.get(name="phone")
        moment = "2026-03-29T00:59:59Z"
        TokenBinding.objects.update(created=_kept(moment), last_used=_kept(moment))

        assert listed()[1] == {
            "id": binding.pk,
            "application": mail.application.client_id,
            "user": "alice",
            "type": "client-request",
            "reference": binding.reference,
            "name": "phone",
            "description": "",
            "live": True,
            "created": moment,
            "last_used": moment,
        }
        assert run().splitlines()[1].split("  ") == [
            str(binding.pk),
            mail.application.client_id,
            "alice",
            "client-request",
            binding.reference,
            '"phone"',
            "live",
            f"last used {moment}",
        ]

    def test_a_shared_slot_has_no_reference(self, tokens: Any) -> None:
        assert listed()[0]["reference"] is None
        assert "  (shared)  " in run().splitlines()[0]

    def test_a_client_that_acts_for_itself_is_no_user(self, make_bound: Callable[..., Site]) -> None:
        make_bound(grant_type="client_credentials", as_user=None).bound("one")

        assert listed()[0]["user"] is None
        assert "  (no user)  " in run()

    def test_what_is_live_has_an_access_token_or_a_refresh_token(self, mail: Site, tokens: Any) -> None:
        expire(tokens["phone"].access)
        refresh_token_row(tokens["watch"].refresh).delete()

        assert names("--live") == ["shared", "phone", "watch", "desk"]
        assert names("--ended") == ["tablet"]

    def test_no_binding_value_is_shown(self, mail: Site, capfd: pytest.CaptureFixture[str]) -> None:
        mail.bound("canary-0b2f6e1c")

        shown = [run(), run("--json"), run("--end", "--no-input"), *capfd.readouterr()]
        assert not any("canary" in each for each in shown)

    def test_what_users_have_chosen_stays_in_its_line(self, tokens: Any) -> None:
        TokenBinding.objects.filter(name="phone").update(name="my\x1b[2Jphone\nand a line")

        assert len(run().splitlines()) == 5
        assert "\x1b" not in run() + run("--json")

    def test_what_belongs_to_nobody_any_more_is_listed(self, mail: Site, tokens: Any) -> None:
        """After a DELETE by SQL: none of the foreign keys has a constraint."""
        TokenBinding.objects.filter(name="phone").update(user=99999, application=99999)

        assert (listed()[1]["application"], listed()[1]["user"]) == ("", None)


class TestFilters:
    def test_by_the_name_of_a_user(self, tokens: Any) -> None:
        assert names("--user", "bob") == ["watch", "desk"]

    def test_by_the_primary_key_of_a_user(self, user: User, tokens: Any) -> None:
        assert names("--user", str(user.pk)) == ["shared", "phone", "tablet"]

    def test_by_the_application(self, calendar: Site, tokens: Any) -> None:
        assert names("--application", calendar.application.client_id) == ["watch", "desk"]

    def test_by_the_type(self, tokens: Any) -> None:
        TokenBinding.objects.filter(name="desk").update(binding_type="of-before")

        assert names("--type", "client-request") == ["shared", "phone", "tablet", "watch"]
        assert names("--type", "of-before") == ["desk"]
        assert names("--type", "sso-session") == []

    def test_by_how_long_they_were_not_used(self, tokens: Any) -> None:
        two_days_ago = timezone.now() - timedelta(days=2, seconds=1)
        TokenBinding.objects.filter(name="watch").update(last_used=two_days_ago)

        assert names("--unused-for", "2") == ["watch"]
        assert names("--unused-for", "3") == []

    def test_all_of_them_have_to_hold(self, mail: Site, tokens: Any) -> None:
        assert names("--user", "alice", "--application", mail.application.client_id, "--ended") == ["tablet"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--user", "carol"], "There is no user with the user name or primary key 'carol'."),
            (["--user", ""], "There is no user with the user name or primary key ''."),
            (["--user", "9" * 30], f"There is no user with the user name or primary key '{'9' * 30}'."),
            (["--application", "none"], "There is no application with the client ID 'none'."),
            (["--type", "cookie"], "There is no token binding type 'cookie'; there are: client-request"),
            (["--unused-for", "0"], "argument --unused-for: must be 1 or more"),
            (["--unused-for", "soon"], "argument --unused-for: invalid days value: 'soon'"),
            (["--live", "--ended"], "not allowed with argument --live"),
            (["--json", "--end"], "not allowed with argument --json"),
            (["phone"], "unrecognized arguments: phone"),
        ],
    )
    def test_what_is_wrong_is_said(self, tokens: Any, arguments: list[str], message: str) -> None:
        with pytest.raises(CommandError) as caught:
            run(*arguments)

        assert message in str(caught.value)

    def test_a_name_that_is_the_key_of_another_user_is_neither(self, user: User) -> None:
        other = User.objects.create_user(str(user.pk))

        with pytest.raises(CommandError, match=f"primary key of another: {user.pk} and {other.pk}"):
            run("--user", str(user.pk))


class TestEnding:
    def test_what_was_asked_for_ends_and_nothing_else(self, mail: Site, calendar: Site, tokens: Any) -> None:
        assert run("--user", "bob", "--end", "--no-input") == "2 token bindings ended.\n"

        for name, site in (("watch", calendar), ("desk", calendar)):
            assert not site.active(tokens[name].access)
            assert site.refresh(tokens[name].refresh).status == 400
        for name in ("shared", "phone"):
            assert mail.active(tokens[name].access)
            assert mail.refresh(tokens[name].refresh).status == 200

    def test_it_is_told_of_those_that_had_something_to_end(
        self, tokens: Any, revoked: list[str], django_capture_on_commit_callbacks: Capture
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            output = run("--user", "alice", "--end", "--no-input")

        assert output == "2 of 3 token bindings ended; the others had no tokens that could be ended.\n"
        assert revoked == ["shared", "phone"]

    def test_with_nothing_to_end(self, tokens: Any) -> None:
        assert run("--unused-for", "1", "--end", "--no-input") == "There are no such token bindings.\n"

    @pytest.mark.parametrize("answer", ["", "y", "no", "YES"])
    def test_who_does_not_say_yes_ends_nothing(
        self, mail: Site, tokens: Any, monkeypatch: pytest.MonkeyPatch, answer: str
    ) -> None:
        questions = _answer(monkeypatch, answer)

        with pytest.raises(CommandError, match=r"^Nothing was ended\.$"):
            run("--end")

        assert questions == ["This ends all tokens of 5 token bindings. Type 'yes' to go on: "]
        assert mail.active(tokens["phone"].access)

    def test_who_can_not_be_asked_ends_nothing(
        self, mail: Site, tokens: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As from a timer, whose input is empty."""
        monkeypatch.setattr("sys.stdin", StringIO())

        with pytest.raises(CommandError, match=r"^Nothing was ended\.$"):
            run("--end")

        assert mail.active(tokens["phone"].access)

    def test_who_says_yes_does(self, tokens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        _answer(monkeypatch, "yes")

        assert "4 of 5 token bindings ended" in run("--end")
        assert names("--live") == []

    def test_it_goes_through_batches_and_says_how_far_it_is(
        self, tokens: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also by what changes while it goes on: what is live is not, once it was ended."""
        monkeypatch.setattr(bindings, "CHUNK_SIZE", 1)
        monkeypatch.setattr(bindings, "PROGRESS_INTERVAL", 2)

        assert run("--live", "--end", "--no-input").splitlines() == [
            "2 of 4 token bindings looked at, 2 ended so far.",
            "4 of 4 token bindings looked at, 4 ended so far.",
            "4 token bindings ended.",
        ]

    def test_who_signs_in_again_meanwhile_stays(
        self, calendar: Site, tokens: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bindings, "CHUNK_SIZE", 1)
        came: list[Any] = []

        def sign_in_and_revoke(binding: TokenBinding) -> int:
            came.append(calendar.bound(f"new {len(came)}"))
            return revoke_binding(binding)

        monkeypatch.setattr(bindings, "revoke_binding", sign_in_and_revoke)
        run("--application", calendar.application.client_id, "--end", "--no-input")

        assert len(came) == 2
        assert [calendar.active(answer.access) for answer in came] == [True, True]


def test_many_are_read_in_parts(tokens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many queries for each part, however many rows there are before it."""
    make_bindings(TokenBinding.objects.get(name="phone"), 2 * CHUNK_SIZE)

    with CaptureQueriesContext(connection) as queries:
        lines = run().splitlines()

    assert len(lines) == 2 * CHUNK_SIZE + 5
    assert len(queries) == 3 * 3
    limits = [query["sql"] for query in queries if "oauth_binding_tokenbinding" in query["sql"]]
    assert all(f"LIMIT {CHUNK_SIZE}" in sql for sql in limits)


@pytest.mark.slow
def test_as_a_process(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    """Where nobody can answer, nothing ends; and what is wrong is the status of the process."""
    project.write_settings("site_with_bindings", default=make_database())
    project.call("site_with_bindings", migrate)
    project.call("site_with_bindings", _log_in)

    def run_it(*arguments: str) -> tuple[int, str]:
        process = project.start("site_with_bindings", "-m", "django", "bindings", *arguments)
        output, _ = process.communicate()
        return process.returncode, output

    assert run_it("--live", "--count") == (0, "1\n")
    status, output = run_it("--end")
    assert (status, "CommandError: Nothing was ended." in output) == (1, True)
    assert run_it("--live", "--count") == (0, "1\n")
    assert run_it("--end", "--no-input") == (0, "1 token bindings ended.\n")
    assert run_it("--live", "--count") == (0, "0\n")
    assert run_it("--user", "nobody")[0] == 1


@pytest.mark.slow
def test_who_reads_may_stop(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    """Such as ``head``, which is no error."""
    project.write_settings("site_with_many", default=make_database())
    project.call("site_with_many", migrate)
    project.call("site_with_many", _log_in_often)

    with project.start("site_with_many", "-u", "-m", "django", "bindings") as process:
        assert process.stdout
        first = process.stdout.readline()

    assert "  client-request  " in first
    assert process.returncode == 0


def _log_in() -> None:
    """Let alice log in with a device; it is called in the process of another site."""
    alice = User.objects.create_user("alice", "alice@example.com", PASSWORD)
    assert Site(make_application("opaque"), alice).bound("phone").status == 200


def _log_in_often() -> None:
    """Let there be more bindings than a pipe holds; it is called in the process of another site."""
    _log_in()
    make_bindings(TokenBinding.objects.get(), 2_000)


def make_bindings(like: TokenBinding, number: int) -> None:
    TokenBinding.objects.bulk_create(
        TokenBinding(
            application=like.application,
            user=like.user,
            binding_type="client-request",
            binding_value=f"{each}",
            reference=f"{each}",
            key=f"{each}",
        )
        for each in range(number)
    )


@pytest.fixture
def revoked() -> Iterator[list[str]]:
    """The names of the bindings that the signal is sent for."""
    told: list[str] = []

    def receive(binding: TokenBinding, **arguments: Any) -> None:
        told.append(binding.name)

    binding_revoked.connect(receive)
    yield told
    binding_revoked.disconnect(receive)


def _kept(moment: str) -> datetime:
    return as_kept(datetime.fromisoformat(moment))


def _answer(monkeypatch: pytest.MonkeyPatch, answer: str) -> list[str]:
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    return questions
