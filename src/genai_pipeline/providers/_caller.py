"""`Caller`: sends requests to one server with the key meant for it, and reads what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import attrs

from genai_pipeline._key_sources import Key
from genai_pipeline._lifespan import if_open, opened
from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline._secret import Secret
from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError, PipelineError
from genai_pipeline.providers._endpoint import is_header_value
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._http import Answer, HttpClient
from genai_pipeline.providers._json import NotJson, json_bytes, not_json, read_json
from genai_pipeline.providers._target import Headers, Target, secrets_in

__all__ = ["REFUSED", "SUCCESS", "Caller", "Sign", "document_in"]

SUCCESS = range(200, 300)
REFUSED = 401

Sign: TypeAlias = Callable[[Target, bytes], Awaitable[Target]]
"""Answers a target with headers that sign it and its body."""

_FIXED = (("user-agent", "genai-pipeline"),)
_SENDS_JSON = (("content-type", "application/json"),)
_MOST_TARGETS = 32


@attrs.frozen(kw_only=True, eq=False)
class Caller:
    """
    What every API behind HTTP needs: a base URL, a key, connections, and how failures read.

    The key goes to the server of *base_url* alone, and is blotted out of all that comes back. A
    key that was refused (401) is looked up once more, and if there is another by now, the
    request is sent once more.
    """

    who: str
    """Begins the message of each error: provider and model."""

    base_url: str
    key: Secret | None = attrs.field(repr=False)
    credentials: Callable[[str], Headers] = attrs.field(repr=False)
    """Answers the headers that carry a key."""

    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Further headers of each request, in lower case; their values are secret, too."""

    client: HttpClient = attrs.field(repr=False)
    failures: FailureFormat = attrs.field(factory=FailureFormat)
    sign: Sign | None = None
    clock: Clock = attrs.field(repr=False)
    _targets: dict[tuple[str, str, str], Target] = attrs.field(factory=dict, init=False, repr=False)

    async def target(
        self, path: str, *, method: str = "POST", accept: str = "application/json"
    ) -> Target:
        """
        Answer where and how to send a request for *path*, which begins with a slash.

        Raises `AuthenticationFailed` when there is no key.
        """
        key = None if self.key is None else await self.key.current(self.who)
        known = self._targets.get((path, method, accept))
        if known is not None and known.key is key:
            return known
        target = self._target(path, method, accept, key)
        if target is None:
            raise ConfigurationError(
                f"{self.who}: {self.key} holds what no header can carry; give visible ASCII, in "
                "one line"
            )
        if len(self._targets) >= _MOST_TARGETS:
            self._targets.clear()
        self._targets[path, method, accept] = target
        return target

    async def renewed(self, target: Target) -> bool:
        """Tell whether there is another key by now than that of *target*, which was refused."""
        if self.key is None or target.key is None:
            return False
        return await self.key.renew(target.key, self.who)

    async def send(
        self, path: str, body: bytes = b"", *, method: str = "POST", timed: bool = True
    ) -> RawAnswer:
        """
        Answer what the server answers, whatever its status.

        For *timed*, see `HttpSession.send`. Raises what that raises, and `AuthenticationFailed`
        without a key.
        """
        target = await self._signed(path, body, method)
        answer = await self._exchange(target, body, timed)
        if answer.status == REFUSED and await self.renewed(target):
            target = await self._signed(path, body, method)
            answer = await self._exchange(target, body, timed)
        return self.raw(answer, target)

    async def fetch(
        self, path: str, document: Mapping[str, Any] | None = None, *, method: str = "POST"
    ) -> tuple[Any, Mapping[str, str]]:
        """
        Answer the JSON that the server answers, and its headers: for what is not paid for.

        Raises the error that a failure means, and `InvalidAnswer` for what is no JSON.
        """
        body = b"" if document is None else json_bytes(document)
        answer = await self.send(path, body, method=method)
        return document_in(answer, self.who, self.to_error), answer.headers

    def to_error(self, answer: RawAnswer) -> PipelineError:
        """Answer the error that *answer*, of whatever status but a success, means."""
        return self.failures.to_error(answer, self.who, now=self.clock.wall())

    def raw(self, answer: Answer, target: Target) -> RawAnswer:
        """Answer what came, without the secrets that were sent."""
        return RawAnswer(
            body=target.hide_in(answer.body),
            status=answer.status,
            headers=self.failures.kept(answer.headers, target.hide),
        )

    async def _signed(self, path: str, body: bytes, method: str) -> Target:
        target = await self.target(path, method=method)
        return target if self.sign is None else await self.sign(target, body)

    def _exchange(self, target: Target, body: bytes, timed: bool) -> Awaitable[Answer]:  # noqa: FBT001
        http = if_open(self.client)
        if http is None:
            return self._open_and_exchange(target, body, timed)
        return http.send(target, body, who=self.who, timed=timed)

    async def _open_and_exchange(self, target: Target, body: bytes, timed: bool) -> Answer:  # noqa: FBT001
        async with opened(self.client) as http:
            return await http.send(target, body, who=self.who, timed=timed)

    def _target(self, path: str, method: str, accept: str, key: Key | None) -> Target | None:
        """Answer the target, unless its key fits no header; never raises, since it has the key."""
        carried = self.credentials(key.text) if key is not None else ()
        if not all(is_header_value(value) for _, value in carried):
            return None
        own = {name for name, _ in carried}
        fixed = (("accept", accept), *_FIXED, *self.headers.items())
        sends = () if method == "GET" else _SENDS_JSON
        plain = (("accept-encoding", "identity"),) if accept != "application/json" else ()
        return Target(
            f"{self.base_url}{path}",
            (*(pair for pair in fixed if pair[0] not in own), *sends, *plain, *carried),
            secrets=secrets_in((key.text if key else None, *self.headers.values())),
            method=method,
            key=key,
        )


def document_in(answer: RawAnswer, who: str, to_error: Callable[[RawAnswer], PipelineError]) -> Any:
    """
    Answer the JSON in *answer*.

    Raises the error that a failure means, and `InvalidAnswer` for what is no JSON; *who* begins
    its message.
    """
    if answer.status not in SUCCESS:
        raise to_error(answer)
    try:
        return read_json(answer.body)
    except NotJson:
        raise not_json(answer.body, answer.headers, who) from None
