"""
Calls over HTTP, for the providers; the only package that imports httpx and aiohttp.

A provider owns an `HttpClient` and makes each call with ``async with opened(client) as http``
and ``await http.send(...)``, or reads a `ByteStream`. httpx and aiohttp load when the first
connection is opened.
"""

from __future__ import annotations

from genai_pipeline.providers._http._client import HttpClient
from genai_pipeline.providers._http._session import Answer, HttpSession

__all__ = ["Answer", "HttpClient", "HttpSession"]
