"""Keys for trying the example out; a deployment gives its own in the environment."""

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management.utils import get_random_secret_key


def get_development_keys(path: Path) -> dict[str, str]:
    """Return SECRET_KEY and OIDC_RSA_PRIVATE_KEY from a file, which is made where it is missing."""
    if not path.exists():
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        keys = {"SECRET_KEY": get_random_secret_key(), "OIDC_RSA_PRIVATE_KEY": pem}
        _write_once(path, json.dumps(keys))
    loaded: dict[str, str] = json.loads(path.read_text())
    return loaded


def _write_once(path: Path, text: str) -> None:
    # Complete or not at all, whatever other process does the same.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
