"""Signature Version 4: a vector computed elsewhere, and botocore's own signatures."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]
from botocore.credentials import Credentials  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from genai_pipeline.providers._sigv4 import signature_headers
from tests.servers.bedrock import KEY_ID, SECRET

MOMENT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def signed(url: str, body: bytes, token: str | None, region: str) -> dict[str, str]:
    """Answer what our code puts to a request."""
    return dict(
        signature_headers(
            method="POST",
            url=url,
            headers={"content-type": "application/json", "accept": "*/*"},
            body=body,
            key_id=KEY_ID,
            secret=SECRET,
            token=token,
            region=region,
            service="bedrock",
            now=MOMENT.timestamp(),
        )
    )


def test_the_known_vector() -> None:
    """A request whose signature is known from elsewhere is signed so."""
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/example.model-v1%3A0/converse"
    body = b'{"messages":[{"role":"user","content":[{"text":"hi"}]}]}'
    found = signed(url, body, None, "us-east-1")
    assert found["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=1fd38c32db3bfe4ae0a67169d42e679c8c3e7825c74cae426a8d297d842920dd"
    )


@given(
    st.text(string.ascii_letters + string.digits + ":/.-_~ +*é", min_size=1, max_size=20),
    st.binary(max_size=40),
    st.none() | st.text(string.ascii_letters + "+/=", min_size=1),
    st.sampled_from(["us-east-1", "eu-central-1"]),
)
def test_it_is_botocores(model: str, body: bytes, token: str | None, region: str) -> None:
    """Any model, body, token and region is signed as botocore signs it."""
    url = f"https://h.example:8443/model/m{quote(model, safe='')}/converse"
    found = signed(url, body, token, region)
    named = {"content-type": "application/json", "x-amz-date": found["x-amz-date"]}
    if token is not None:
        named["x-amz-security-token"] = token
    request = AWSRequest("POST", url, headers={**named, "host": urlsplit(url).netloc}, data=body)
    request.context["timestamp"] = found["x-amz-date"]
    auth = SigV4Auth(Credentials(KEY_ID, SECRET, token), "bedrock", region)
    to_sign = auth.string_to_sign(request, auth.canonical_request(request))
    assert found["authorization"].endswith(f"Signature={auth.signature(to_sign, request)}")
