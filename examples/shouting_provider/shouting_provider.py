"""A provider of a third party: it answers whatever it is told in capitals."""

import anyio.lowlevel
import attrs

import genai_pipeline as gp

finished = gp.events.CallFinished(provider="shouting", model="loud-1", seconds=0.0)


@attrs.frozen
class Shouting:
    """Answers the last message, with so many exclamation *marks*."""

    marks: int = attrs.field(default=1, kw_only=True, validator=attrs.validators.ge(0))

    async def __call__(self, request: gp.Request) -> gp.Response:
        """Answer *request* in capitals; choosing and filling in are no shouting matter."""
        if request.labels or request.schema:
            gp.emit(attrs.evolve(finished, error="InvalidRequest"))
            raise gp.errors.InvalidRequest("Shouting: give neither labels= nor schema=")
        await anyio.lowlevel.checkpoint()  # a real model is waited for here
        gp.emit(attrs.evolve(finished, finish_reason="stop"))
        return gp.Response(request.prompt.upper() + "!" * self.marks, model="loud-1")
