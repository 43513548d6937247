"""Where Bedrock's models are, and what signs a request there."""

from __future__ import annotations

import os
import re
from typing import Any, Protocol
from urllib.parse import quote

import attrs

from genai_pipeline._options import check
from genai_pipeline._secret import Secret
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.providers._aws_credentials import AwsCredentials, GetCredentials, Signer
from genai_pipeline.providers._caller import Sign
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._http_options import HttpOptions

__all__ = [
    "base_url_of",
    "is_amazon",
    "key_of",
    "path_of",
    "region_name",
    "region_of_environment",
    "sign_of",
    "to_get",
]

_BEARER = "AWS_BEARER_TOKEN_BEDROCK"
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
_SERVICE = "bedrock"


class Regional(Protocol):
    """A provider that says where its model is."""

    @property
    def region(self) -> str | None:
        """The region of AWS."""
        ...


def region_name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow the name of a region."""
    fine = isinstance(value, str) and _REGION.fullmatch(value) is not None
    check(fine, owner, option.name, value, "the name of a region, as 'eu-central-1'")


def region_of_environment() -> str | None:
    """Answer the region that the environment names."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def base_url_of(placed: Regional) -> str:
    """Answer the host of the region, or raise `ConfigurationError`."""
    if placed.region is None:
        raise ConfigurationError(
            f"{type(placed).__name__}: no region; give region=, or set the environment variable "
            "AWS_REGION"
        )
    return f"https://bedrock-runtime.{placed.region}.amazonaws.com"


def to_get(given: AwsCredentials | GetCredentials | None) -> GetCredentials | None:
    """Answer *given* as a function."""
    if isinstance(given, AwsCredentials):
        return lambda: given
    fine = given is None or callable(given)
    check(fine, "Bedrock", "credentials", "…", "AwsCredentials, or a function that answers them")
    return given


def path_of(owner: HttpOptions) -> str:
    """Answer the path of the model."""
    fine = _MODEL.fullmatch(owner.model) is not None
    check(fine, owner, "model", owner.model, "the id of a model or a profile, or an ARN")
    return f"/model/{quote(owner.model, safe='')}"


def key_of(base_url: str, credentials: GetCredentials | None) -> Secret | None:
    """Answer where the key is when none is given: the environment's, for Amazon alone."""
    ours = is_amazon(base_url) and credentials is None
    return Secret.from_env(_BEARER) if ours and os.environ.get(_BEARER) else None


def sign_of(
    owner: HttpOptions, *, has_key: bool, credentials: GetCredentials | None, region: str | None
) -> Sign | None:
    """Answer what signs the requests of *owner*; `None` where a key goes along, or nothing does."""
    check(
        credentials is None or owner.api_key is None,
        owner,
        "credentials",
        "…",
        "either api_key= or credentials=",
    )
    if has_key or "authorization" in owner.headers:
        return None
    if credentials is None and not is_amazon(owner.base_url):
        return None  # a gateway that wants none of ours
    if region is None:
        raise ConfigurationError(
            f"{type(owner).__name__}: credentials= without a region; give region=, which is signed "
            "as well"
        )
    get = credentials or AwsCredentials.from_env
    return Signer(get=get, region=region, service=_SERVICE, clock=owner.clock)


def is_amazon(base_url: str) -> bool:
    """Tell whether *base_url* is Amazon's own."""
    return host_of(base_url).endswith(".amazonaws.com")
