"""The options of ``TOKEN_EXCHANGE_ISSUERS``, as they are documented."""

from __future__ import annotations

import dataclasses
import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import oauth_binding
from oauth_binding.core.trusted_issuers import Issuer

DOCUMENTATION = Path(oauth_binding.__file__).parents[1] / "docs/token-exchange.md"

#: What is said of the defaults that are no value.
IN_WORDS = {"JWKS_URL": "", "KEYS": "", "AUDIENCE": "", "USER_FIELD": "the model's `USERNAME_FIELD`"}


def default_of(option: dataclasses.Field[Any]) -> Any:
    return list(option.default) if isinstance(option.default, tuple) else option.default


def test_every_option_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) ?\| ", DOCUMENTATION.read_text(), re.MULTILINE)
    said = {key: text if key in IN_WORDS else literal_eval(text.strip("`")) for key, text in rows}
    options = [field for field in dataclasses.fields(Issuer) if field.name != "name"]

    assert said == {
        option.name.upper(): IN_WORDS.get(option.name.upper(), default_of(option)) for option in options
    }
