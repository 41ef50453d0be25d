"""Secrets of this environment, and how they are kept out of what is written and sent.

A secret is the value of a variable whose name says so, or a URL that holds a password.
"""

import os
import re

# Short values would be found by chance.
_MIN_CHARACTERS = 16
_NAME = re.compile(r"_KEY$|APIKEY$|_PAT$|SECRET|TOKEN|PASSW|PASSPHRASE|CREDENTIAL", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_URL_USER = re.compile(r"(://(?:[^/\s:@]+:)?)[^/\s:@]+@")
HIDDEN = "***"


def secret_variables() -> dict[str, str]:
    """Return the variables of this environment whose values must not leave it."""
    return {
        name: value
        for name, value in os.environ.items()
        if (_NAME.search(name) or _URL_PASSWORD.search(value)) and len(value) >= _MIN_CHARACTERS
    }


def redact(text: str) -> str:
    """Return a text without the secrets of this environment and without passwords in URLs."""
    values = secret_variables().values()
    # In a patch each line of a key begins with a sign of its own.
    lines = {
        line for value in values for line in value.splitlines() if len(line) >= _MIN_CHARACTERS
    }
    for value in sorted({*values, *lines}, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return _URL_USER.sub(rf"\g<1>{HIDDEN}@", text)


def redact_override(word: str) -> str:
    """Return a `key=value` of a command line, without the value where the key names a secret."""
    key, equals, _ = word.partition("=")
    leaf = key.rpartition(".")[2]
    # infra.secrets lists names; env_set may be given as a whole, with any names in it.
    if equals and (leaf == "env_set" or (leaf != "secrets" and _NAME.search(leaf))):
        return f"{key}={HIDDEN}"
    return redact(word)
