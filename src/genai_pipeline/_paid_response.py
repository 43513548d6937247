"""`paid_response`: a call that a journal keeps as the response it came to, not as raw bytes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import attrs

from genai_pipeline._answer_codec import packed, unpacked
from genai_pipeline._journal import RawAnswer
from genai_pipeline._paid import (
    CallName,
    Judgement,
    PaidCall,
    UnkeptAnswer,
    current_recorder,
    paid,
)
from genai_pipeline._reconcile import Found, LostCall
from genai_pipeline._replay import is_kept
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.messages import Request, Response

__all__ = ["paid_response", "would_replay_response"]


async def paid_response(
    request: Request,
    respond: Callable[[], Awaitable[Response]],
    *,
    provider: str,
    model: str,
    longest: float = 600.0,
    identity: tuple[Any, ...] = (),
    find: Callable[[LostCall], Awaitable[Found]] | None = None,
) -> Response:
    """
    Answer *request* by ``respond()``, through the journal of the pipeline this runs in, if any.

    For providers that read their answers inside of what they call: the journal keeps the
    `Response`, as JSON. *longest* is the seconds after which a call has surely ended, *find* asks
    what became of one that was lost. A response that comes out of the journal has
    ``attributes["replayed"]`` true.
    """
    if current_recorder() is None:
        return await respond()

    made: Response | None = None

    async def send() -> RawAnswer:
        nonlocal made
        made = await respond()
        return keep(made)

    def keep(response: Response) -> RawAnswer:
        try:
            return RawAnswer(body=packed(response, 0.0).encode())
        except ConfigurationError as error:
            raise UnkeptAnswer(
                f"{provider} {model!r}: the journal cannot keep it: {error}"
            ) from error

    async def find_raw(lost: LostCall) -> RawAnswer | Literal["void"] | None:
        assert find is not None
        found = await find(lost)
        return keep(found) if isinstance(found, Response) else found

    def judge(raw: RawAnswer) -> Judgement:
        response = _response(raw) if made is None else made
        usage = response.usage
        told = usage.input_tokens or usage.output_tokens or usage.cost is not None
        return Judgement(
            state="answered", usage=usage if told else None, request_id=response.request_id
        )

    call = PaidCall(
        provider=provider,
        model=model,
        request=request,
        judge=judge,
        timeout=longest,
        identity=("response", *identity),
        find=None if find is None else find_raw,
    )
    raw = await paid(call, send)
    if made is not None and not raw.replayed:
        return made
    response = _response(raw)
    return attrs.evolve(response, attributes={**response.attributes, "replayed": True})


def would_replay_response(
    request: Request, *, provider: str, model: str, identity: tuple[Any, ...] = ()
) -> bool:
    """Tell whether `paid_response`, given the same, would answer *request* from the journal."""
    told = ("response", *identity)
    return is_kept(CallName(provider=provider, model=model, request=request, identity=told))


def _response(raw: RawAnswer) -> Response:
    try:
        answer = unpacked(raw.body.decode()).answer
    except (ValueError, json.JSONDecodeError) as error:
        raise StorageFailed(f"the journal's answer is not a response: {error}") from error
    if not isinstance(answer, Response):
        raise StorageFailed("the journal's answer is not a response")
    return answer
