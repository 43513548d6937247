"""`FailureFormat`: how one API tells of failures and of its limits, in headers and bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from genai_pipeline._raw_answer import RawAnswer
from genai_pipeline.errors import PipelineError
from genai_pipeline.providers._error_body import failure_from
from genai_pipeline.providers._failures import COMMON_RULES, Rule, to_error
from genai_pipeline.providers._retry_after import LIMIT_PREFIXES, rate_limits, retry_after

__all__ = ["FailureFormat"]

_KEPT = ("content-type", "location", "retry-after", "retry-after-ms", "x-should-retry")


@attrs.frozen(kw_only=True)
class FailureFormat:
    """Where an API puts what an error needs to know, and what its codes mean."""

    rules: tuple[Rule, ...] = COMMON_RULES
    """The first that fits decides; put rules of an API's own before `COMMON_RULES`."""

    request_id_headers: tuple[str, ...] = ("x-request-id",)
    """Where the provider's own name for a call may be, in lower case, the best first."""

    code_header: str | None = None
    """A header with an error code, in lower case; what stands behind a colon is left out."""

    more_headers: tuple[str, ...] = ()
    """What else is read of the headers, in lower case."""

    _kept: frozenset[str | None] = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(
            lambda self: frozenset(
                {*_KEPT, *self.request_id_headers, self.code_header, *self.more_headers}
            ),
            True,
        ),
    )

    def request_id(self, headers: Mapping[str, str]) -> str | None:
        """Answer the provider's own name for the call."""
        for name in self.request_id_headers:
            if found := headers.get(name):
                return found
        return None

    def kept(self, headers: Mapping[str, str], hide: Callable[[str], str]) -> dict[str, str]:
        """Answer those of *headers* that are ever read, in lower case, without secrets."""
        names = self._kept
        return {
            low: hide(value)
            for name, value in headers.items()
            if (low := name.lower()) in names or low.startswith(LIMIT_PREFIXES)
        }

    def to_error(self, answer: RawAnswer, who: str, *, now: float) -> PipelineError:
        """
        Answer the error that *answer*, of whatever status but a success, means.

        *who* begins its message; *now* is the wall clock. Never raises.
        """
        headers = answer.headers
        code = headers.get(self.code_header, "") if self.code_header else ""
        code = code.partition(":")[0].strip()[:100]
        failure = failure_from(
            answer.status,
            answer.body,
            more=(code,) if code else (),
            retry_after=retry_after(headers, now=now),
            rate_limits=rate_limits(headers),
            should_retry={"true": True, "false": False}.get(
                headers.get("x-should-retry", "").lower()
            ),
            request_id=self.request_id(headers),
            location=headers.get("location"),
        )
        return to_error(failure, who, self.rules)
