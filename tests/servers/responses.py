"""Ways in which the server answers in OpenAI's Responses API, whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tests.servers.streaming import Way, begin, broken_ways, end, put

if TYPE_CHECKING:
    from tests.servers.chat import Exchange

__all__ = ["RESPONSES", "RESPONSE_USAGE", "events_of", "message_item", "response_document", "sse"]

RESPONSE_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 15,
}


def message_item(*texts: str, **more: Any) -> dict[str, Any]:
    """Answer a message of the model's that says *texts*; *more* replaces its parts."""
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    told = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    return told | {"content": content} | more


def response_document(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Answer a whole response of these items; *more* replaces its parts."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": "served-model",
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "output": list(output),
        "usage": RESPONSE_USAGE,
    } | more


def sse(document: dict[str, Any]) -> bytes:
    """Answer an event as the API writes it, named by its type."""
    text = json.dumps(document, ensure_ascii=False)
    return f"event: {document['type']}\ndata: {text}\n\n".encode()


def events_of(
    response: dict[str, Any], cut: Callable[[str], list[str]] = lambda text: [text]
) -> Iterator[dict[str, Any]]:
    """Give the events that stream *response*, each text of it in the pieces that *cut* makes."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "sequence_number": 0, "response": begun}
    yield {"type": "response.in_progress", "sequence_number": 1, "response": begun}
    for index, item in enumerate(response["output"]):
        at = {"output_index": index, "item_id": item.get("id", "")}
        yield {"type": "response.output_item.added", **at, "item": _begun(item)}
        for kind, place, text in _texts(item):
            for piece in cut(text):
                yield {"type": f"{kind}.delta", **at, **place, "delta": piece, "logprobs": []}
            yield {"type": f"{kind}.done", **at, **place, "text": text}
        yield {"type": "response.output_item.done", **at, "item": item}
    yield {"type": f"response.{response['status']}", "sequence_number": 9, "response": response}


def _begun(item: dict[str, Any]) -> dict[str, Any]:
    empty: dict[str, Any] = {"content": [], "summary": [], "arguments": ""}
    return {**item, **{name: empty[name] for name in empty if name in item}}


def _texts(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, int], str]]:
    if item["type"] == "function_call":
        yield "response.function_call_arguments", {}, item["arguments"]
    for index, part in enumerate(item.get("summary") or ()):
        yield "response.reasoning_summary_text", {"summary_index": index}, part["text"]
    for index, part in enumerate(item.get("content") or ()):
        kinds = {"output_text": "output_text", "reasoning_text": "reasoning_text"}
        if part["type"] == "refusal":
            yield "response.refusal", {"content_index": index}, part["refusal"]
        elif part["type"] in kinds:
            yield f"response.{part['type']}", {"content_index": index}, part["text"]


async def _responses(exchange: Exchange) -> bool:
    """Say what was asked, so that mixed-up answers are seen; as a stream, if that is wanted."""
    request = exchange.json
    wanted = request.get("text", {}).get("format", {}).get("schema", {})
    if "label" in wanted.get("properties", {}):
        text = json.dumps({"label": wanted["properties"]["label"]["enum"][-1]})
    else:
        text = f"you said: {request['input'][-1]['content']}"
    response = response_document(message_item(text))
    if not request.get("stream"):
        await exchange.send_json(response, headers="x-request-id: req-1\r\n")
        return True
    await begin(exchange, headers="x-request-id: req-1\r\n")
    for event in events_of(response, lambda said: said.replace(" ", "\n ").split("\n")):
        await put(exchange, sse(event))
    return await end(exchange)


async def _begun_stream(exchange: Exchange) -> None:
    """Send the head of a stream and half of its text."""
    response = response_document(message_item("half an answer", " and more"))
    await begin(exchange)
    for event in events_of(response):
        if event["type"] == "response.output_text.done":
            return
        await put(exchange, sse(event))


async def _error(exchange: Exchange) -> bool:
    await _begun_stream(exchange)
    return await end(
        exchange, sse({"type": "error", "code": "server_error", "message": "too busy"})
    )


async def _failed(exchange: Exchange) -> bool:
    """Fail in the end, with a status of success long since sent."""
    await _begun_stream(exchange)
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    failed = response_document(status="failed", error=error)
    return await end(exchange, sse({"type": "response.failed", "response": failed}))


async def _open_end(exchange: Exchange) -> bool:
    """Tell the whole answer, and keep the connection open."""
    await begin(exchange)
    for event in events_of(response_document(message_item("whole"))):
        await put(exchange, sse(event))
    await exchange.hang()
    return False


RESPONSES: dict[str, Way] = {
    "responses": _responses,
    **broken_ways("responses", _begun_stream, b"data: {"),
    "responses-error": _error,
    "responses-failed": _failed,
    "responses-open-end": _open_end,
}
"""How to answer, by the first segment of the path."""
