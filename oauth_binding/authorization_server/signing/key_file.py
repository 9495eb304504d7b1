"""The file of signing keys: a private JWK set (RFC 7517 section 5), read live and replaced as a whole."""

from __future__ import annotations

import json
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from django.core.exceptions import ImproperlyConfigured
from django.core.files import locks
from jwcrypto.jwk import JWK

from oauth_binding.core.jose.algorithms import ALGORITHMS, MIN_RSA_BITS, SIGNING_ALGORITHMS
from oauth_binding.core.settings import binding_settings

logger = logging.getLogger(__name__)

PrivateKey: TypeAlias = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

#: Later dates are beyond what Python knows, or are milliseconds.
_MAX_DATE: Final = 10**11


class KeyFileError(ImproperlyConfigured):
    """The file can't be used, and this process has not read a good one before."""


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A parsed private key and its ``kid``, the RFC 7638 thumbprint that the JWKS endpoint publishes."""

    kid: str
    algorithm: str
    private_key: PrivateKey

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.kid}>"


@dataclass(frozen=True, slots=True, repr=False)
class FileKey(SigningKey):
    """A key of the file. Its dates are in seconds since the epoch."""

    #: The JWK as it stands in the file; private.
    jwk: dict[str, Any]
    #: The JWK to publish: what a verifier needs, and nothing else.
    public_jwk: dict[str, Any]
    #: ``nbf``: it signs from then on, unless a newer one does.
    used_from: int
    #: ``exp``: it no longer signs from then on. None while no end is set.
    used_until: int | None
    #: ``published_until``: it leaves the JWK set then. None together with ``exp``.
    published_until: int | None

    def retire(self, used_until: int, published_until: int) -> FileKey:
        """Return the key with an end of its use and of its publication."""
        return parse({**self.jwk, "exp": used_until, "published_until": published_until})


def generate(algorithm: str, used_from: int) -> FileKey:
    """Return a new key of one of the ``SIGNING_ALGORITHMS``."""
    key = JWK.generate(**_kind(algorithm))
    members = {"alg": algorithm, "kid": key.thumbprint(), "use": "sig", "nbf": used_from}
    return parse({**key.export_private(as_dict=True), **members})


def parse(jwk: Any) -> FileKey:
    """Return the key that a private JWK is (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2).

    :raises ValueError: it is not one, or is too weak; the text completes "a key that ...", and contains no
        secret.
    """
    if not isinstance(jwk, dict):
        raise ValueError("is not a JSON object")
    algorithm: Any = jwk.get("alg")
    if algorithm not in SIGNING_ALGORITHMS:
        raise ValueError(f"has an alg that is not one of {', '.join(SIGNING_ALGORITHMS)}")
    if jwk.get("use") != "sig":
        raise ValueError("does not have the use 'sig'")
    private_key = _parse_private_key(jwk, algorithm)
    public_key = JWK.from_pyca(private_key.public_key())
    kid = public_key.thumbprint()
    if jwk.get("kid") != kid:
        raise ValueError(f"has a kid that is not its RFC 7638 thumbprint, {kid}")
    public = {**public_key.export_public(as_dict=True), "kid": kid, "alg": algorithm, "use": "sig"}
    return FileKey(kid, algorithm, private_key, jwk, public, *_parse_dates(jwk))


def _parse_dates(jwk: dict[str, Any]) -> list[Any]:
    dates: list[Any] = [jwk.get(name) for name in ("nbf", "exp", "published_until")]
    given = dates[:1] if dates[1:] == [None, None] else dates
    if not all(type(date) is int and 0 <= date < _MAX_DATE for date in given):
        raise ValueError(
            "must have nbf, and both or neither of exp and published_until, in seconds since the epoch"
        )
    if given != sorted(given):
        raise ValueError("has nbf, exp and published_until out of order")
    return dates


def _parse_private_key(jwk: dict[str, Any], algorithm: str) -> PrivateKey:
    try:
        key = jwt.PyJWK(jwk, algorithm).key
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, RecursionError):
        key = None  # the libraries' messages may quote it
    if isinstance(key, RSAPrivateKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError(f"has {key.key_size} bits, fewer than {MIN_RSA_BITS}")
    if isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return key
    kind = _kind(algorithm)
    raise ValueError(f"is not a private key for {algorithm} ({kind['kty']} {kind.get('crv', '')})")


def _kind(algorithm: str) -> Mapping[str, Any]:
    kind = ALGORITHMS[algorithm].generate
    assert kind is not None  # noqa: S101
    return kind


# Reading


def read(path: Path) -> tuple[FileKey, ...]:
    """Return the keys in a file.

    :raises OSError: it can't be read.
    :raises ValueError: it is not a JWK set of sound signing keys.
    """
    try:
        jwk_set = json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("it is not a JWK set") from None
    jwks = jwk_set.get("keys") if isinstance(jwk_set, dict) else None
    if not isinstance(jwks, list):
        raise ValueError("it is not a JWK set")
    keys: dict[str, FileKey] = {}
    for number, jwk in enumerate(jwks, 1):
        try:
            key = parse(jwk)
        except ValueError as error:
            raise ValueError(f"key {number} {error}") from None
        if key.kid in keys:
            raise ValueError(f"key {number} has the same kid as another key, {key.kid}")
        keys[key.kid] = key
    return tuple(keys.values())


def load() -> tuple[FileKey, ...]:
    """Return the keys in this site's file as it is now; none if it has no file.

    If the file has become unreadable, the keys that were read before stay in use, and the log says so.

    :raises KeyFileError: the file can't be used, and never could in this process (``manage.py check``: E015).
    """
    path = binding_settings.signing_keys
    return () if path is None else _files.setdefault(path, _LiveFile(path)).keys()


class _LiveFile:
    """A file that is read again when it has changed, by one request for all others of this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        #: What was read last, by the file's stamp, well-formed or not. None: nothing could be read.
        self.stamp: tuple[int, ...] | None = None
        self.problem = ""
        self.good: tuple[FileKey, ...] | None = None

    def keys(self) -> tuple[FileKey, ...]:
        if self._has_changed():
            with self.lock:
                if self._has_changed():  # pragma: no branch - another thread may have read it
                    self._read_file()
        if self.good is None:
            raise KeyFileError(self.problem)
        return self.good

    def _has_changed(self) -> bool:
        return self.stamp is None or self.stamp != self._get_stamp()

    def _get_stamp(self) -> tuple[int, ...] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def _read_file(self) -> None:
        stamp = self._get_stamp()  # taken first, so that what changes meanwhile is read again
        try:
            self.good, problem = read(self.path), ""
        except (OSError, ValueError) as error:
            problem = f"The signing keys in {self.path} can't be used: {error}."
            if isinstance(error, OSError):
                stamp = None
            if problem != self.problem:
                logger.error("%s%s", problem, "" if self.good is None else " Those read before stay in use.")
        self.stamp, self.problem = stamp, problem


#: By path, for the life of the process.
_files: dict[Path, _LiveFile] = {}


def current_key(keys: Iterable[FileKey], algorithm: str, now: int) -> FileKey | None:
    """Return the key that signs at a moment: the newest key of the algorithm that is in use then."""
    usable = [
        key
        for key in keys
        if key.algorithm == algorithm
        and key.used_from <= now
        and (key.used_until is None or now < key.used_until)
    ]
    return max(usable, key=lambda key: key.used_from, default=None)


def announced_key(keys: Iterable[FileKey], algorithm: str, now: int) -> FileKey | None:
    """Return the key of the algorithm that is used next, after a moment."""
    announced = [key for key in keys if key.algorithm == algorithm and key.used_from > now]
    return min(announced, key=lambda key: key.used_from, default=None)


def is_published(key: FileKey, now: int) -> bool:
    """Return whether a key is in the JWK set at a moment: from the time it is made."""
    return key.published_until is None or now < key.published_until


# Writing


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process at a time change a file: the others wait.

    :raises OSError: the lock can't be taken. It is a second file, because the first one is replaced.
    """
    with open(f"{path}.lock", "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        locks.lock(file, locks.LOCK_EX)
        yield


def write(path: Path, keys: Iterable[FileKey]) -> None:
    """Replace a file, or make it, so that readers see either the old one or the new one.

    A new file can be read only by its owner; a replaced one passes on its owner, group and mode.

    :raises OSError: it can't be written, and is left as it was.
    """
    path = Path(os.path.realpath(path))  # a link stays a link
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w") as file:
            json.dump({"keys": [key.jwk for key in keys]}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            replaced, written = os.stat(path), os.stat(name)
            if (replaced.st_uid, replaced.st_gid) != (written.st_uid, written.st_gid):
                os.chown(name, replaced.st_uid, replaced.st_gid)
            os.chmod(name, stat.S_IMODE(replaced.st_mode))
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
