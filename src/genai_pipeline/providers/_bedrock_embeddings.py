"""`BedrockEmbeddings`: vectors from the models of Amazon Bedrock, by InvokeModel."""

from __future__ import annotations

import anyio
import attrs

from genai_pipeline import _options
from genai_pipeline._options import check, one_of, optional
from genai_pipeline._secret import Secret
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.messages import Usage
from genai_pipeline.providers._aws_credentials import GetCredentials
from genai_pipeline.providers._bedrock_embedding_dialects import (
    CohereDialect,
    Maker,
    TitanDialect,
    maker_of,
)
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
from genai_pipeline.providers._caller import Sign
from genai_pipeline.providers._http_embedder import HttpEmbedder

__all__ = ["BedrockEmbeddings"]

_AT_ONCE = 16


@attrs.frozen(eq=False)
class BedrockEmbeddings(HttpEmbedder):
    """
    A model of Amazon Bedrock that embeds: Titan Text Embeddings, or Cohere's Embed.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    Titan takes one text with each call, so a request of several makes as many, sixteen at a time,
    each of which is told of and kept by itself; when one fails, no more begin. Cohere's models take
    96 texts, and want to know what the vectors are for (``task``), which Titan refuses.

    Everything else is as with `Bedrock`: the same key or credentials, one attempt a call, the same
    errors; in a pipeline with a journal, answers are kept as they came.
    """

    maker: Maker | None = attrs.field(
        default=None, kw_only=True, validator=optional(one_of("amazon", "cohere"))
    )
    """Whose words the model takes, where its name (an ARN of a profile) does not tell."""

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

    async def __call__(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """
        Answer a vector for each text of *request*, in its order.

        Raises what every provider raises, for the request as a whole.
        """
        alone = isinstance(self._dialect, TitanDialect) and len(request.texts) > 1
        if not alone or self._limits.overflow_of(request) is not None:  # which is told of once
            return await HttpEmbedder.__call__(self, request)
        return _joined(await self._one_by_one(request))

    async def _one_by_one(self, request: EmbeddingRequest) -> list[EmbeddingResponse]:
        answers: dict[int, EmbeddingResponse] = {}
        failures: list[Exception] = []
        left = iter(enumerate(request.texts))

        async def work() -> None:
            for place, text in left:
                alone = attrs.evolve(request, texts=(text,))
                try:
                    answers[place] = await HttpEmbedder.__call__(self, alone)
                except Exception as failure:  # noqa: BLE001 - raised below
                    failures.append(failure)
                if failures:
                    return

        async with anyio.create_task_group() as group:
            for _ in range(min(_AT_ONCE, len(request.texts))):
                group.start_soon(work)
        if failures:
            raise failures[0]
        return [answers[place] for place in range(len(request.texts))]

    def _speaks(self) -> TitanDialect | CohereDialect:
        maker = self.maker or maker_of(self.model)
        check(maker is not None, self, "maker", maker, "'amazon' or 'cohere' for such a model")
        dialect = TitanDialect if maker == "amazon" else CohereDialect
        return dialect(path_of(self), f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_amazon(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self.base_url, self.credentials)

    def _sign(self) -> Sign | None:
        has_key = self._key() is not None
        return sign_of(self, has_key=has_key, credentials=self.credentials, region=self.region)


def _joined(answers: list[EmbeddingResponse]) -> EmbeddingResponse:
    """Answer one for all; its request id is that of the first."""
    tokens = sum(answer.usage.input_tokens for answer in answers)
    attributes = {name: value for answer in answers for name, value in answer.attributes.items()}
    return attrs.evolve(
        answers[0],
        vectors=tuple(vector for answer in answers for vector in answer.vectors),
        usage=Usage(input_tokens=tokens),
        attributes=attributes,
    )
