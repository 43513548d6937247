"""
Support tickets sorted by a model behind an OpenAI-compatible server, or offline when it is away.

``genai-pipeline run examples/support_tickets.py`` writes ``sorted_tickets.jsonl``. The server is
named by the environment: ``SUPPORT_BASE_URL``, ``SUPPORT_MODEL`` and, where it wants one,
``SUPPORT_API_KEY``.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import genai_pipeline as gp

CATEGORIES = {
    "billing": "invoice, payment, charge, refund, price, credit card, receipt, discount",
    "login": "password, sign in, account access, locked out, authenticator code",
    "delivery": "parcel, package, order, shipping, courier, tracking, damaged or missing items",
    "bug": "the software crashes, is slow, shows wrong results or an error, data is lost",
    "wish": "please add or plan a new function, view, shortcut or option",
    "cancellation": "end the subscription or trial, close the account, leave the contract",
}
PRIORITIES = {
    "urgent": "immediately, right now, disaster, nobody can work, down, losing orders, locked out",
    "normal": "something is wrong, broken or missing, please send, fix or refund it",
    "low": "a question or a wish, no hurry, would be nice, thanks",
}

local = gp.providers.Local(descriptions=CATEGORIES | PRIORITIES)


async def offline_if_down(
    request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]
) -> gp.Response:
    """Let the embedded model answer when the server cannot: for now, or for anybody."""
    try:
        return await call_next(request)
    except (gp.Transient, gp.Systemic):
        return await local(request)


server = gp.providers.OpenAI(
    os.environ.get("SUPPORT_MODEL", "default"),
    base_url=os.environ.get("SUPPORT_BASE_URL", "http://127.0.0.1:8080/v1"),
    api_key=os.environ.get("SUPPORT_API_KEY"),
    timeout=30.0,
)
model = gp.wrap(server, offline_if_down)


async def triage(ticket: Mapping[str, str]) -> dict[str, str]:
    """Choose the category and the priority of a ticket, and say which model did."""
    text = f"{ticket['subject']}\n\n{ticket['body']}"
    category = await model(
        gp.Request(text, system=f"What is this ticket about? {CATEGORIES}", labels=CATEGORIES)
    )
    priority = await model(
        gp.Request(text, system=f"How soon must we act? {PRIORITIES}", labels=PRIORITIES)
    )
    answered_by = " and ".join(sorted({category.model, priority.model}))
    choices = {"category": category.text, "priority": priority.text, "answered_by": answered_by}
    return {**ticket, **choices}


pipeline = gp.Pipeline(
    source=gp.sources.JsonLines(
        Path(__file__).parent / "data" / "support_tickets.jsonl", key=lambda ticket: ticket["id"]
    ),
    stage=gp.map(triage),
    sink=gp.in_order(gp.sinks.JsonLines("sorted_tickets.jsonl")),
    dead_letters=gp.sinks.JsonLines("unsorted_tickets.jsonl"),
)
