"""A provider made by a third party: it answers everything in capitals."""

import time

import anyio.lowlevel
import attrs

import genai_pipeline as gp


@attrs.frozen
class Shouting:
    """Answers the last thing the user said, louder."""

    marks: int = attrs.field(default=1, kw_only=True, validator=attrs.validators.ge(0))

    async def __call__(self, request: gp.Request) -> gp.Response:
        """Answer *request* in capitals."""
        began = time.monotonic()
        await anyio.lowlevel.checkpoint()  # a real one waits for its server here
        text = request.prompt.upper() + "!" * self.marks
        gp.emit(
            gp.events.CallFinished(
                provider="shouting", model="loud-1", seconds=time.monotonic() - began
            )
        )
        return gp.Response(text, model="loud-1")
