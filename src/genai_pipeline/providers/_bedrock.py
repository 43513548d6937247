"""`Bedrock`: the models of Amazon Bedrock, by its Converse API."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import quote

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check, optional
from genai_pipeline._secret import Secret
from genai_pipeline.errors import ConfigurationError, InvalidAnswer
from genai_pipeline.messages import Request
from genai_pipeline.providers._aws_credentials import AwsCredentials, GetCredentials, Signer
from genai_pipeline.providers._bedrock_dialect import ConverseDialect
from genai_pipeline.providers._bedrock_request import converse_body
from genai_pipeline.providers._caller import Sign
from genai_pipeline.providers._document import as_dict
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._http_model import HttpModel

__all__ = ["Bedrock"]

_BEARER = "AWS_BEARER_TOKEN_BEDROCK"
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
_SERVICE = "bedrock"
_NOT_COUNTED = ("inferenceConfig", "outputConfig", "serviceTier", "requestMetadata")


def _region(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    fine = isinstance(value, str) and _REGION.fullmatch(value) is not None
    check(fine, owner, option.name, value, "the name of a region, as 'eu-central-1'")


def _region_of_environment() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None


def _base_url(bedrock: Any) -> str:
    if bedrock.region is None:
        raise ConfigurationError(
            "Bedrock: no region; give region=, or set the environment variable AWS_REGION"
        )
    return f"https://bedrock-runtime.{bedrock.region}.amazonaws.com"


def _to_get(given: AwsCredentials | GetCredentials | None) -> GetCredentials | None:
    if isinstance(given, AwsCredentials):
        return lambda: given
    fine = given is None or callable(given)
    check(fine, "Bedrock", "credentials", "…", "AwsCredentials, or a function that answers them")
    return given


@attrs.frozen(eq=False)
class Bedrock(HttpModel):
    """
    A model of Amazon Bedrock, whosever it is: the Converse API speaks alike of all.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.

    Calls carry *api_key*, a bearer key, or are signed with *credentials* (Signature Version 4).
    Without either, Amazon's own hosts get the key in ``AWS_BEARER_TOKEN_BEDROCK``, if it was set
    when this was built, else calls are signed with `AwsCredentials.from_env`.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. The text of an answer that was cut at the output limit is returned with
    ``finish_reason="length"``; where labels or a schema were asked for, `Truncated` is raised.
    What a guardrail stopped is `Refused`. A cancelled call may have been billed. In a pipeline with
    a journal, answers are kept as they came, before they are read.
    """

    region: str | None = attrs.field(
        factory=_region_of_environment, kw_only=True, validator=optional(_region)
    )
    """Where the model is asked; by default what ``AWS_REGION`` or ``AWS_DEFAULT_REGION`` says."""

    base_url: str = attrs.field(default=attrs.Factory(_base_url, takes_self=True), kw_only=True)
    """Everything before ``/model``; by default the host of the region."""

    credentials: GetCredentials | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=_to_get
    )
    """`AwsCredentials`, or a function that answers them, asked at each call."""

    name: str = attrs.field(default="bedrock", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* has for the model, as the API counts them; free of charge.

        Raises what a call raises; not every model can be asked.
        """
        who = self._caller.who
        body = converse_body(request, who)
        counted = {name: value for name, value in body.items() if name not in _NOT_COUNTED}
        path = f"{self._path()}/count-tokens"
        answer, _ = await self._caller.fetch(path, {"input": {"converse": counted}})
        count = as_dict(answer).get("inputTokens")
        if type(count) is not int or count < 0:
            raise InvalidAnswer(f"{who}: the answer holds no count of tokens")
        return count

    def _speaks(self) -> ConverseDialect:
        return ConverseDialect(self._path(), f"{self.name} {self.model!r}")

    def _path(self) -> str:
        fine = _MODEL.fullmatch(self.model) is not None
        check(fine, self, "model", self.model, "the id of a model or a profile, or an ARN")
        return f"/model/{quote(self.model, safe='')}"

    def _is_known_host(self) -> bool:
        return self._is_amazon()

    def _default_key(self) -> Secret | None:
        ours = self._is_amazon() and self.credentials is None
        return Secret.from_env(_BEARER) if ours and os.environ.get(_BEARER) else None

    def _sign(self) -> Sign | None:
        check(
            self.credentials is None or self.api_key is None,
            self,
            "credentials",
            "…",
            "either api_key= or credentials=",
        )
        if self._key() is not None or "authorization" in self.headers:
            return None
        if self.credentials is None and not self._is_amazon():
            return None  # a gateway that wants none of ours
        if self.region is None:
            raise ConfigurationError(
                "Bedrock: credentials= without a region; give region=, which is signed as well"
            )
        get = self.credentials or AwsCredentials.from_env
        return Signer(get=get, region=self.region, service=_SERVICE, clock=self.clock)

    def _is_amazon(self) -> bool:
        return host_of(self.base_url).endswith(".amazonaws.com")
