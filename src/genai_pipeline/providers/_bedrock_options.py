"""`AtBedrock`: the options of whatever asks Bedrock, and what follows from them."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._options import optional
from genai_pipeline._secret import Secret
from genai_pipeline.providers._aws_credentials import GetCredentials
from genai_pipeline.providers._bedrock_host import (
    base_url_of,
    is_amazon,
    key_of,
    region_name,
    region_of_environment,
    sign_of,
    to_get,
)
from genai_pipeline.providers._caller import Sign
from genai_pipeline.providers._http_limited import HttpLimited

__all__ = ["AtBedrock"]


@attrs.frozen(eq=False, slots=False)  # slots of its own would not go with those of the other base
class AtBedrock(HttpLimited):
    """Says where in AWS the model is, and what key or credentials go there: the first base."""

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

    def _is_known_host(self) -> bool:
        return is_amazon(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self.base_url, self.credentials)

    def _sign(self) -> Sign | None:
        has_key = self._key() is not None
        return sign_of(self, has_key=has_key, credentials=self.credentials, region=self.region)
