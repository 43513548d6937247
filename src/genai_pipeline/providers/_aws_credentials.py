"""`AwsCredentials`: what signs requests to Amazon, and where it comes from."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import attrs

from genai_pipeline._options import check
from genai_pipeline._secret import Secret, to_secret
from genai_pipeline.clock import Clock
from genai_pipeline.errors import AuthenticationFailed
from genai_pipeline.providers._sigv4 import signature_headers
from genai_pipeline.providers._target import Target, secrets_in

__all__ = ["AwsCredentials", "GetCredentials", "Signer"]


def _secret(given: str | Secret) -> Secret:
    found = to_secret(given)
    check(found is not None, "AwsCredentials", "secret_access_key", "…", "a text or a Secret")
    assert found is not None
    return found


def _token(given: str | Secret | None) -> Secret | None:
    return to_secret(given)


def _key_id(owner: object, option: attrs.Attribute[str], value: object) -> None:
    fine = isinstance(value, str) and value.isalnum() and value.isascii()
    check(fine, owner, option.name, value, "letters and digits")


@attrs.frozen
class AwsCredentials:
    """An access key of AWS; a temporary one has a session token."""

    access_key_id: str = attrs.field(validator=_key_id)
    secret_access_key: Secret = attrs.field(converter=_secret, repr=False)
    session_token: Secret | None = attrs.field(default=None, converter=_token, repr=False)

    @classmethod
    def from_env(cls) -> AwsCredentials:
        """
        Answer what AWS's variables hold.

        They are ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_SESSION_TOKEN``. Raises
        `AuthenticationFailed` when one of the first two is not set.
        """
        key_id = os.environ.get("AWS_ACCESS_KEY_ID", "").strip()
        secret = os.environ.get("AWS_SECRET_ACCESS_KEY", "").strip()
        if not key_id or not secret:
            raise AuthenticationFailed(
                "no AWS credentials; set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or give api_key= or credentials="
            )
        return cls(key_id, secret, os.environ.get("AWS_SESSION_TOKEN", "").strip() or None)


GetCredentials: TypeAlias = Callable[[], AwsCredentials | Awaitable[AwsCredentials]]
"""Answers the credentials to sign with; called with each request, so it should keep them."""


@attrs.frozen(kw_only=True)
class Signer:
    """Signs requests to one *service* in one *region*."""

    get: GetCredentials
    region: str
    service: str
    clock: Clock = attrs.field(repr=False)

    async def __call__(self, target: Target, body: bytes) -> Target:
        """Answer *target* with headers that sign it and *body*."""
        found = self.get()
        if inspect.isawaitable(found):
            found = await found
        if not isinstance(found, AwsCredentials):
            raise AuthenticationFailed(
                f"credentials= answered a {type(found).__qualname__}; let it answer AwsCredentials"
            )
        secret = await found.secret_access_key.reveal()
        token = None if found.session_token is None else await found.session_token.reveal()
        signed = signature_headers(
            method=target.method,
            url=target.url,
            headers=dict(target.headers),
            body=body,
            key_id=found.access_key_id,
            secret=secret,
            token=token,
            region=self.region,
            service=self.service,
            now=self.clock.wall(),
        )
        headers = (*target.headers, *(pair for pair in signed if pair[0] != "host"))
        secrets = (*target.secrets, *secrets_in((secret, token)))
        return attrs.evolve(target, headers=headers, secrets=secrets)
