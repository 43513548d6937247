"""`SdkMessages`: Claude behind the client object of Anthropic's SDK."""

from __future__ import annotations

import attrs

from genai_pipeline.messages import Request
from genai_pipeline.providers._anthropic_request import MessageForm
from genai_pipeline.providers._caller import document_in
from genai_pipeline.providers._sdk_model import SdkModel
from genai_pipeline.providers._token_count import count_in

__all__ = ["SdkMessages"]


@attrs.frozen(kw_only=True, eq=False)
class SdkMessages(SdkModel):
    """An `SdkModel` that counts tokens as well."""

    form: MessageForm = attrs.field(repr=False)

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* has for the model, as the API counts them; free of charge.

        Raises what a call raises. It needs no output limit.
        """
        who = self.calling.who
        name = "with_raw_response.count_tokens"
        answer = await self.send(name, self.form.counted(request, who))
        document = document_in(answer, who, self.calling.to_error)
        return count_in(document, who, field="input_tokens")
