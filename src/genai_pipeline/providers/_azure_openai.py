"""`AzureOpenAI`: a model deployed in Azure."""

from __future__ import annotations

import re
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline._secret import GetKey, Secret, to_secret
from genai_pipeline.providers._azure_dialect import AzureDialect
from genai_pipeline.providers._chat_profile import OPENAI
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._openai_hosts import is_azure
from genai_pipeline.providers._target import Headers

__all__ = ["AzureOpenAI"]

_KEY = "AZURE_OPENAI_API_KEY"
_VERSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:-preview)?", re.ASCII)
_ROUTES = ("/openai/v1", "/openai")


def _api_version(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = value is None or (isinstance(value, str) and _VERSION.fullmatch(value) is not None)
    check(fine, owner, option.name, value, "a date such as '2024-10-21', or None for the v1 API")


def _to_token(given: str | Secret | GetKey | None) -> Secret | None:
    return to_secret(given)


def _to_root(url: Any) -> Any:
    """Answer the address of the resource, where that of a route was given."""
    if not isinstance(url, str):
        return url
    root = url.rstrip("/")
    route = next((route for route in _ROUTES if root.endswith(route)), "")
    return root.removesuffix(route)


@attrs.frozen(eq=False)
class AzureOpenAI(HttpModel):
    """
    A model deployed in Azure, behind Chat Completions; *model* is the name of the deployment.

    Without *api_key* and *entra_token*, Azure's own hosts get the key in
    ``AZURE_OPENAI_API_KEY``, and others none. Everything else is as with `OpenAI`. What the
    content filter stopped, in the prompt or in the answer, is `Refused`, whose ``explanation``
    names the categories; what it let pass is in ``Response.attributes``.
    """

    base_url: str = attrs.field(kw_only=True, converter=_to_root)
    """The address of the resource: ``https://NAME.openai.azure.com``, or that of a gateway."""

    api_version: str | None = attrs.field(default=None, kw_only=True, validator=_api_version)
    """
    Asks by the classic route, ``/openai/deployments/…``, of this version.

    By default the v1 API is asked, ``/openai/v1/…``, which has none.
    """

    entra_token: Secret | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=_to_token
    )
    """
    Sent as ``Authorization: Bearer`` instead of a key: as a rule a function that answers a token.

    What ``azure.identity.get_bearer_token_provider`` makes is one; its scope is
    ``https://ai.azure.com/.default``. A token that is refused (401) is asked for once more.
    """

    name: str = attrs.field(default="azure", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> AzureDialect:
        return AzureDialect(self.model, OPENAI, self.api_version)

    def _key(self) -> Secret | None:
        if self.entra_token is None:
            return super()._key()
        check(self.api_key is None, self, "api_key", "…", "it, or entra_token=, not both")
        twice = not {"authorization", "api-key"}.isdisjoint(self.headers)
        check(not twice, self, "headers", "…", "either entra_token= or a key in headers")
        return self.entra_token

    def _default_key(self) -> Secret | None:
        return Secret.from_env(_KEY) if is_azure(self.base_url) else None

    def _credentials(self, key: str) -> Headers:
        if self.entra_token is not None:
            return (("authorization", f"Bearer {key}"),)
        return (("api-key", key),)
