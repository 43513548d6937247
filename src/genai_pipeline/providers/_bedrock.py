"""`Bedrock`: the models of Amazon Bedrock, by its Converse API."""

from __future__ import annotations

import attrs

from genai_pipeline.messages import Request
from genai_pipeline.providers._bedrock_dialect import ConverseDialect
from genai_pipeline.providers._bedrock_host import path_of
from genai_pipeline.providers._bedrock_options import AtBedrock
from genai_pipeline.providers._bedrock_request import converse_body
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["Bedrock"]

_NOT_COUNTED = ("inferenceConfig", "outputConfig", "serviceTier", "requestMetadata")


@attrs.frozen(eq=False)
class Bedrock(AtBedrock, HttpModel):
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
