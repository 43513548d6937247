"""`Bedrock`: the models of Amazon Bedrock, by its Converse API."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._options import optional
from genai_pipeline._secret import Secret
from genai_pipeline.messages import Request
from genai_pipeline.providers._aws_credentials import GetCredentials
from genai_pipeline.providers._bedrock_dialect import ConverseDialect
from genai_pipeline.providers._bedrock_host import (
    base_url_of,
    is_amazon,
    key_of,
    path_of,
    region_name,
    region_of_environment,
    sign_of,
    to_get,
)
from genai_pipeline.providers._bedrock_request import converse_body
from genai_pipeline.providers._caller import Sign
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["Bedrock"]

_NOT_COUNTED = ("inferenceConfig", "outputConfig", "serviceTier", "requestMetadata")


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
        factory=region_of_environment, kw_only=True, validator=optional(region_name)
    )
    """Where the model is asked; by default what ``AWS_REGION`` or ``AWS_DEFAULT_REGION`` says."""

    base_url: str = attrs.field(default=attrs.Factory(base_url_of, takes_self=True), kw_only=True)
    """Everything before ``/model``; by default the host of the region."""

    credentials: GetCredentials | None = attrs.field(
        default=None, kw_only=True, repr=False, converter=to_get
    )
    """`AwsCredentials`, or a function that answers them, asked at each call."""

    name: str = attrs.field(default="bedrock", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* has for the model, as the API counts them; free of charge.

        Raises what a call raises; not every model can be asked.
        """
        body = converse_body(request, self._caller.who)
        counted = {name: value for name, value in body.items() if name not in _NOT_COUNTED}
        path, document = f"{path_of(self)}/count-tokens", {"input": {"converse": counted}}
        return await fetch_count(self._caller, path, document, field="inputTokens")

    def _speaks(self) -> ConverseDialect:
        return ConverseDialect(path_of(self), f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_amazon(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self.base_url, self.credentials)

    def _sign(self) -> Sign | None:
        has_key = self._key() is not None
        return sign_of(self, has_key=has_key, credentials=self.credentials, region=self.region)
