"""Client secrets and their hashes: a fast one for what is generated here, a slow one for all others."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher, check_password, get_hasher, make_password
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client, override_settings
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server import ClientSecretGenerator, GeneratedSecretHasher
from oauth_binding.authorization_server.toolkit import validator as validators
from oauth_binding.authorization_server.toolkit.client_secrets import is_generated
from tests.helpers.client import PASSWORD, SECRET, Answer, Site
from tests.helpers.provider import provider

FAST = "oauth_binding_sha256"
FAST_HASHER = "oauth_binding.authorization_server.GeneratedSecretHasher"
GENERATOR = "oauth_binding.authorization_server.ClientSecretGenerator"
SLOW_HASHER = f"{__name__}.SlowHasher"


class SlowHasher(PBKDF2PasswordHasher):
    """Stands for a hash that takes long: it counts how often it is made."""

    algorithm = "slow"
    iterations = 1
    made = 0

    def encode(self, password: Any, salt: Any, iterations: int | None = None) -> str:
        type(self).made += 1
        return super().encode(password, salt, iterations)


def generated() -> str:
    return ClientSecretGenerator().hash()


@contextmanager
def hashing(client_secrets: str) -> Iterator[None]:
    """Have a slow hasher for passwords, and choose what client secrets are hashed with."""
    hashers = override_settings(PASSWORD_HASHERS=[SLOW_HASHER, FAST_HASHER])
    with hashers, provider(CLIENT_SECRET_HASHER=client_secrets, CLIENT_SECRET_GENERATOR_CLASS=GENERATOR):
        yield


def fast() -> AbstractContextManager[None]:
    return hashing(FAST)


def slow() -> AbstractContextManager[None]:
    return hashing("default")


@pytest.fixture
def make_client(make_site: Callable[..., Site]) -> Callable[..., Site]:
    """Return a factory of applications with a hashed secret, a generated one unless another is given."""

    def make(secret: str = "") -> Site:
        secret = secret or generated()
        site = make_site("client_credentials", as_user=None, client_secret=secret, hash_client_secret=True)
        site.secret = secret
        return site

    return make


def stored(site: Site) -> str:
    """Return what the database has for an application's secret."""
    return str(get_application_model().objects.get(pk=site.application.pk).client_secret)


def algorithm(site: Site) -> str:
    return stored(site).partition("$")[0]


def slow_hashes(call: Callable[[], object]) -> int:
    """Return how many slow hashes a call takes."""
    before = SlowHasher.made
    call()
    return SlowHasher.made - before


def introspect(site: Site) -> Answer:
    return site.introspect("unknown")


def revoke(site: Site) -> Answer:
    return site.revoke("unknown")


def token_with_secret_in_the_body(site: Site) -> Answer:
    credentials = {"client_id": site.application.client_id, "client_secret": site.secret}
    return site.post(
        "/oauth2/token/", {"grant_type": "client_credentials", **credentials}, authenticate=False
    )


#: The requests that clients authenticate themselves for.
REQUESTS: list[Callable[[Site], Answer]] = [Site.token, token_with_secret_in_the_body, introspect, revoke]
each_request = pytest.mark.parametrize("request_of", REQUESTS)


@each_request
def test_a_generated_secret_takes_no_slow_hash(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with fast():
        site = make_client()

        assert algorithm(site) == FAST
        assert slow_hashes(lambda: request_of(site)) == 0
        assert request_of(site).status == 200


@each_request
def test_without_the_setting_each_request_takes_a_slow_hash(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with slow():
        site = make_client()

        assert slow_hashes(lambda: request_of(site)) == 1
        assert slow_hashes(lambda: request_of(site)) == 1
        assert algorithm(site) == "slow"


@each_request
def test_a_wrong_secret_is_refused(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with fast():
        site = make_client()
        right, hashed = site.secret, stored(site)

        for wrong in (generated(), right[:-1], f"{right}x", right.swapcase(), "", hashed):
            site.secret = wrong
            assert request_of(site).status == 401
        site.secret = right
        assert request_of(site).status == 200


@each_request
def test_a_slow_hash_becomes_a_fast_one_when_the_client_first_comes_back(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with slow():
        site, absent = make_client(), make_client()
    with fast():
        assert slow_hashes(lambda: request_of(site)) == 1
        assert algorithm(site) == FAST
        assert slow_hashes(lambda: request_of(site)) == 0
        assert request_of(site).status == 200
        assert algorithm(absent) == "slow"


@each_request
def test_the_way_back(make_client: Callable[..., Site], request_of: Callable[[Site], Answer]) -> None:
    with fast():
        site, absent = make_client(), make_client()
    with slow():
        assert request_of(site).status == 200
        assert algorithm(site) == "slow"
        assert request_of(site).status == 200
        assert algorithm(absent) == FAST


def test_the_hash_goes_to_whatever_hasher_the_site_prefers(make_client: Callable[..., Site]) -> None:
    with fast():
        site = make_client()
    others = ["django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher", SLOW_HASHER, FAST_HASHER]
    with override_settings(PASSWORD_HASHERS=others), provider(CLIENT_SECRET_HASHER="slow"):
        assert site.token().status == 200
        assert algorithm(site) == "slow"


@each_request
@pytest.mark.parametrize("setting", ["slow", "fast"])
def test_a_wrong_secret_changes_no_hash(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer], setting: str
) -> None:
    before, after = (slow, fast) if setting == "fast" else (fast, slow)
    with before():
        site = make_client()
        hashed = stored(site)
        site.secret = generated()
    with after():
        assert request_of(site).status == 401
        assert stored(site) == hashed


@each_request
def test_a_chosen_secret_keeps_the_slow_hash(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with slow():
        old = make_client("correct horse battery staple")
        hashed = stored(old)
    with fast():
        new = make_client("correct horse battery staple")
        for site in (old, new):
            assert slow_hashes(lambda: request_of(site)) == 1  # noqa: B023
            assert request_of(site).status == 200
            assert algorithm(site) == "slow"
        assert stored(old) == hashed


def test_a_secret_that_is_not_hashed_stays_so(make_site: Callable[..., Site]) -> None:
    secret = generated()
    with fast():
        site = make_site("client_credentials", client_secret=secret, hash_client_secret=False)
        site.secret = secret

        assert site.token().status == 200
        assert stored(site) == secret


def test_other_changes_of_hashers_are_left_to_the_site(make_client: Callable[..., Site]) -> None:
    with slow():
        site = make_client()
    others = ["django.contrib.auth.hashers.MD5PasswordHasher", SLOW_HASHER, FAST_HASHER]
    with override_settings(PASSWORD_HASHERS=others):
        assert site.token().status == 200
        assert algorithm(site) == "slow"


@pytest.mark.parametrize("setting", ["slow", "fast"])
def test_a_secret_that_is_changed_meanwhile_stays_changed(
    make_client: Callable[..., Site], setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = (slow, fast) if setting == "fast" else (fast, slow)
    new_secret = generated()
    with before():
        site = make_client()

    def change_and_hash(*args: Any, **kwargs: Any) -> str:
        application = get_application_model().objects.get(pk=site.application.pk)
        application.client_secret = new_secret
        application.save()
        return make_password(*args, **kwargs)

    with after():
        monkeypatch.setattr(validators, "make_password", change_and_hash)
        assert site.token().status == 200  # it was the secret when the request came
        monkeypatch.undo()

        assert site.token().status == 401
        site.secret = new_secret
        assert site.token().status == 200


def test_two_requests_that_bring_the_fast_hash_at_once(
    make_client: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    with slow():
        site = make_client()

    def let_another_go_first(*args: Any, **kwargs: Any) -> str:
        monkeypatch.undo()
        assert site.introspect("unknown").status == 200
        return make_password(*args, **kwargs)

    with fast():
        monkeypatch.setattr(validators, "make_password", let_another_go_first)
        assert site.token().status == 200
        assert algorithm(site) == FAST
        assert site.token().status == 200


def test_of_two_applications_only_the_one_that_came_back_changes(make_client: Callable[..., Site]) -> None:
    with slow():
        secret = generated()
        site, other = make_client(secret), make_client(secret)
        hashed = stored(other)
    with fast():
        assert site.token().status == 200
        assert stored(other) == hashed
        assert other.token().status == 200


@each_request
def test_a_hash_is_never_the_secret(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    """Where its hasher is not installed any more, too: then django-oauth-toolkit would compare the two."""
    with fast():
        site = make_client()
        site.secret = stored(site)

        assert request_of(site).status == 401
    assert request_of(site).status == 401


def test_saving_an_application_keeps_its_hash(make_client: Callable[..., Site]) -> None:
    with fast():
        site = make_client()
        hashed = stored(site)
        site.application.name = "renamed"
        site.application.save()

        assert stored(site) == hashed


# What is known for generated


def test_what_the_generator_makes_is_known_for_generated() -> None:
    made = {generated() for _ in range(20)}

    assert len(made) == 20
    assert all(is_generated(secret) for secret in made)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{65}", secret) for secret in made)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        SECRET,
        PASSWORD,
        "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0pQAZWSXEDCRFVTGBYHNUJMIKOLP1q2",
        "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99",
        "hfK3aP0sWq9ZtY7uB2nM5cX8vL1dG4jR6eT0iO3pA9khfK3aP0sWq9ZtY7uB2nM5cX",
        None,
        b"hfK3aP0sWq9ZtY7uB2nM5cX8vL1dG4jR6eT0iO3pA9k",
    ],
)
def test_what_others_make_is_not(secret: Any) -> None:
    assert not is_generated(secret)


def test_a_tag_is_of_one_secret_alone() -> None:
    one, other = generated(), generated()

    assert not is_generated(one[:43] + other[43:])
    assert not is_generated(one[:-1])
    assert not is_generated(f"{one}x")
    assert not is_generated(one.swapcase())
    assert not is_generated(one[1:])


@contextmanager
def new_secret_key(*fallbacks: str) -> Iterator[None]:
    with override_settings(SECRET_KEY="another secret key", SECRET_KEY_FALLBACKS=list(fallbacks)):
        yield


def test_the_tag_is_known_as_long_as_its_key_is(settings: Any) -> None:
    secret, key = generated(), settings.SECRET_KEY

    with new_secret_key(key):
        assert is_generated(secret)
    with new_secret_key():
        assert not is_generated(secret)


@each_request
def test_a_new_secret_key_locks_no_client_out_and_slows_none_down(
    make_client: Callable[..., Site], request_of: Callable[[Site], Answer]
) -> None:
    with fast():
        site = make_client()
        hashed = stored(site)
        with new_secret_key():
            assert slow_hashes(lambda: request_of(site)) == 0
            assert request_of(site).status == 200
            assert stored(site) == hashed


def test_after_a_new_secret_key_the_way_back_is_open(make_client: Callable[..., Site]) -> None:
    with fast():
        site = make_client()
    with slow(), new_secret_key():
        assert site.token().status == 200
        assert algorithm(site) == "slow"
        assert site.token().status == 200


def test_a_hash_of_a_secret_without_a_tag_stays_fast(make_client: Callable[..., Site]) -> None:
    """As one from before there were tags."""
    secret = secrets.token_urlsafe(48)
    with fast():
        site = make_client(secret)
        assert algorithm(site) == "slow"
        hashed = (
            f"{FAST}$salt-of-22-characters${GeneratedSecretHasher._digest(secret, 'salt-of-22-characters')}"
        )
        get_application_model().objects.filter(pk=site.application.pk).update(client_secret=hashed)

        assert slow_hashes(lambda: site.token()) == 0
        assert site.token().status == 200
        assert stored(site) == hashed


def test_every_door_generates_secrets_that_are_known(user: User) -> None:
    out = StringIO()
    with fast():
        call_command("createapplication", "confidential", "client-credentials", stdout=out)
        browser = Client()
        browser.force_login(User.objects.create_superuser("operator"))
        pages = [
            browser.get("/admin/oauth2_provider/application/add/").context["adminform"].form,
            browser.get("/oauth2/applications/register/").context["form"],
        ]
        with provider(
            DCR_ENABLED=True,
            CLIENT_SECRET_HASHER=FAST,
            CLIENT_SECRET_GENERATOR_CLASS=GENERATOR,
            DCR_REGISTRATION_PERMISSION_CLASSES=("oauth2_provider.dcr.AllowAllDCRPermission",),
        ):
            registered = browser.post(
                "/oauth2/register/", {"grant_types": ["client_credentials"]}, content_type="application/json"
            ).json()["client_secret"]

        shown = [out.getvalue().rpartition("client_secret: ")[2].strip(), registered]
        shown += [page.get_initial_for_field(page.fields["client_secret"], "client_secret") for page in pages]
        assert [is_generated(secret) for secret in shown] == [True] * 4
        made = get_application_model().objects.values_list("client_secret", flat=True)
        assert {secret.partition("$")[0] for secret in made} == {FAST}


# As one of Django's password hashers


def test_a_password_gets_the_slow_hash_even_where_the_fast_hasher_is_preferred(db: None) -> None:
    """``manage.py check`` names that (E020); until somebody reads it, no password is worse off."""
    with override_settings(PASSWORD_HASHERS=[FAST_HASHER, SLOW_HASHER]):
        user = User.objects.create_user("bob", password=PASSWORD)

        assert user.password.startswith("slow$")
        assert user.check_password(PASSWORD)


def test_there_must_be_a_hasher_for_the_others() -> None:
    with override_settings(PASSWORD_HASHERS=[FAST_HASHER]), pytest.raises(ImproperlyConfigured):
        make_password(PASSWORD)


def test_equal_secrets_have_different_hashes() -> None:
    secret = generated()
    with fast():
        one, other = make_password(secret, hasher=FAST), make_password(secret, hasher=FAST)

        assert one != other
        assert check_password(secret, one)
        assert check_password(secret, other)


def test_a_hash_has_the_form_of_django() -> None:
    secret = generated()
    with fast():
        encoded = make_password(secret, hasher=FAST)
        hasher = get_hasher(FAST)

    assert isinstance(hasher, GeneratedSecretHasher)
    assert len(encoded) < 128
    assert encoded.split("$") == list(hasher.decode(encoded).values())
    assert not hasher.must_update(encoded)
    assert hasher.must_update(hasher.encode(secret, "short"))
    with pytest.raises(ValueError, match="salt"):
        hasher.encode(secret, "sa$lt")
    summary = hasher.safe_summary(encoded)
    assert summary["algorithm"] == FAST
    assert hasher.decode(encoded)["hash"] not in summary.values()


def test_a_wrong_secret_takes_no_more_time_than_a_right_one() -> None:
    """Django asks each hasher for the rounds by which a hash falls behind: there are none."""
    secret = generated()
    with fast():
        encoded = make_password(secret, salt="short", hasher=FAST)

        assert slow_hashes(lambda: check_password("wrong", encoded, preferred=FAST)) == 0
