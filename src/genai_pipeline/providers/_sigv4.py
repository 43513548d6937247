"""AWS Signature Version 4, for requests with a body and without a query."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from genai_pipeline.providers._target import Headers

__all__ = ["signature_headers"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_END = "aws4_request"
_SIGNED = ("content-type", "host", "x-amz-date", "x-amz-security-token")


def signature_headers(
    *,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    key_id: str,
    secret: str,
    token: str | None,
    region: str,
    service: str,
    now: float,
) -> Headers:
    """
    Answer the headers that sign a request made at *now* (seconds since 1970).

    The algorithm is that of AWS's documentation, "Create a signed AWS API request". The path of
    *url*, encoded as it is sent, is encoded once more in what is signed, as for every service but
    S3. Of *headers*, in lower case, ``content-type`` is signed.
    """
    parts = urlsplit(url)
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    carried = {"host": parts.netloc, "x-amz-date": moment}
    if token is not None:
        carried["x-amz-security-token"] = token
    known = {**headers, **carried}
    signed = [name for name in _SIGNED if name in known]
    canonical = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/-_.~"),
            parts.query,
            *(f"{name}:{' '.join(known[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = "/".join((moment[:8], region, service, _END))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"
    signature = _mac(_signing_key(secret, scope), to_sign).hex()
    authorization = (
        f"{_ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={';'.join(signed)}, "
        f"Signature={signature}"
    )
    return (*carried.items(), ("authorization", authorization))


def _signing_key(secret: str, scope: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    return key


def _mac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
