"""What a journal knows calls by."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline._canonical import canonical, digest, json_copy
from genai_pipeline._paid import Judgement, PaidCall, StageMark
from genai_pipeline._recorder import call_key, stage_of_key

# Some are equal in Python, and not in JSON.
_PARTS = st.sampled_from(["chat", "", None, True, 1, 1.0, False, 0, -0.0, 1.5, (1,), (True,)])


@given(
    st.lists(_PARTS, max_size=3).map(tuple),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["hi", "he\u00e9\ud800"]),
)
def test_a_key_is_a_digest_of_all_that_decides(
    identity: tuple[Any, ...], version: str, prompt: str
) -> None:
    """It is the same in every process, and another wherever JSON tells two calls apart."""
    request = gp.Request(prompt, temperature=0.5)
    call = PaidCall(
        provider="p",
        model="m",
        request=request,
        judge=lambda _: Judgement(state="void"),
        identity=identity,
    )
    plain = json_copy(identity, where="identity")
    told = canonical(["ask", version, "p", "m", plain, request.fingerprint()])
    key = call_key(StageMark("ask", version), call)
    assert stage_of_key(key).hex() == digest(["ask", version])[:8]
    assert key[4:] == blake2b(told.encode(), digest_size=12).digest()
