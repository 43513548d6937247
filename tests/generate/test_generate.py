"""`generate`: what is asked, how the end of an answer is judged, what is done about bad ones."""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline._generate._forms import form_of, modes_of
from genai_pipeline._generate._issues import Unfit
from genai_pipeline._generate._output import output_of
from genai_pipeline._versions import mark_of
from genai_pipeline.events import AnswerMended
from genai_pipeline.testing import Script
from tests.resilience.cycles import no_cycles_of

from .shapes import Mood, Ticket

pytestmark = pytest.mark.anyio


@attrs.frozen
class Verdict:
    """What a ticket is about."""

    topic: Literal["bug", "praise"]
    score: int


GOOD = json.dumps({"topic": "bug", "score": 3})
BAD = json.dumps({"topic": "rant", "score": "3"})


async def ask(model: Any, value: Any = "help!", **options: Any) -> Any:
    """Answer the one record that a stage makes of *value*."""
    options = {"prompt": "About {value}", "output": Verdict, **options}
    (record,) = await gp.generate(model, **options)(gp.Record(value, "k", {"tenant": "a"}))
    return record


def said(text: str, finish_reason: Any = "stop") -> gp.Response:
    return gp.Response(text, finish_reason=finish_reason)


async def told(model: Any, **options: Any) -> list[str]:
    """Answer what was done about the answers, in order."""
    heard: list[Any] = []
    with gp.listen(heard.append):
        try:
            await ask(model, **options)
        except gp.PipelineError:
            pass
    return [event.how for event in heard if isinstance(event, AnswerMended)]


async def test_a_record_becomes_what_was_asked_for() -> None:
    """The answer is a value of the type, under the record's key and attributes."""
    record = await ask(Script(GOOD))
    assert record == gp.Record(Verdict("bug", 3), "k", {"tenant": "a"})


async def test_the_request_says_all_of_it() -> None:
    """Prompt, system prompt, limits, further parameters and the schema are in the request."""
    model = Script(GOOD)
    await ask(
        model,
        system="You sort.",
        max_output_tokens=50,
        temperature=0,
        extra={"seed": 1},
        delimit=False,
    )
    (request,) = model.requests
    assert request.prompt == "About help!"
    assert request.system == "You sort."
    assert (request.max_output_tokens, request.temperature) == (50, 0)
    assert request.extra == {"seed": 1}
    assert request.schema is not None
    assert request.schema["title"] == "Verdict"


async def test_marks_are_explained_in_the_system_prompt() -> None:
    """What comes from the record is marked, and the system prompt says what the marks mean."""
    model = Script(GOOD)
    await ask(model, Ticket("a", "b"), prompt="{subject}", system="You sort.")
    (request,) = model.requests
    assert str(request.system).startswith("You sort.\n\nWhat stands between a tag <data-")
    assert request.prompt.endswith("</" + request.prompt[1:14] + ">")


async def test_a_function_makes_the_whole_request() -> None:
    """A prompt may be a function: what its request leaves open is the stage's."""
    model = Script(GOOD, GOOD)

    def prompt(ticket: Ticket) -> gp.Request:
        turns = [gp.Message("assistant", "hi"), gp.Message("user", ticket.body)]
        return gp.Request(turns, temperature=1, extra={"seed": 2})

    await ask(model, Ticket("a", "b"), prompt=prompt, temperature=0, system="s", extra={"top": 1})
    await ask(model, Ticket("a", "b"), prompt=lambda ticket: ticket.subject, system="s")
    first, second = model.requests
    assert [message.content for message in first.messages] == ["hi", "b"]
    assert (first.temperature, first.system, first.extra) == (1, "s", {"top": 1, "seed": 2})
    assert first.schema is not None
    assert (second.prompt, second.system) == ("a", "s")


async def test_a_provider_without_schemas_is_asked_in_words() -> None:
    """A function that says nothing of what it can gets the schema in the system prompt."""
    asked: list[gp.Request] = []

    async def model(request: gp.Request) -> gp.Response:
        asked.append(request)
        return gp.Response(f"Sure!\n```json\n{GOOD}\n```")

    assert (await ask(model)).value == Verdict("bug", 3)
    (request,) = asked
    assert request.schema is None
    assert '"enum": ["bug", "praise"]' in str(request.system)


def called(arguments: str, finish_reason: Any = "tool") -> gp.Response:
    call = gp.parts.ToolCall("answer", arguments, id="1")
    return gp.Response("", parts=(call,), finish_reason=finish_reason)


async def test_a_shape_may_be_the_arguments_of_a_tool() -> None:
    """Where an API has tools and no schemas, the model answers by calling one that takes it."""
    model = Script(called(BAD), called(GOOD))
    assert (await ask(model, mode="tool")).value == Verdict("bug", 3)
    first, again = model.requests
    (tool,) = first.tools
    assert (tool.name, first.tool_choice, first.schema) == ("answer", "answer", None)
    assert tool.parameters["title"] == "Verdict"
    assert again.messages[-2] == gp.Message("assistant", BAD)
    assert again.prompt.endswith("Call the tool answer again, with the whole answer, corrected.")
    assert again.tools == first.tools


@pytest.mark.extras
async def test_arguments_are_read_and_mended_like_texts() -> None:
    """Broken arguments are mended, cut ones get more room, and a text in their stead will do."""
    assert (await ask(Script(called(GOOD[:-1])), mode="tool")).attributes["repaired"]
    model = Script(called(GOOD[:9], "length"), said(f"It is {GOOD}"))
    assert (await ask(model, mode="tool", max_output_tokens=9)).value == Verdict("bug", 3)
    assert [request.max_output_tokens for request in model.requests] == [9, 18]
    with pytest.raises(errors.InvalidAnswer, match="no JSON object"):
        await ask(Script(called(GOOD[:-1], "other")), mode="tool", reasks=0)


async def test_two_calls_of_the_tool_are_no_answer() -> None:
    """Nobody chooses between two answers: the model is told, and calls once."""
    calls = tuple(gp.parts.ToolCall("answer", GOOD, id=str(number)) for number in (1, 2))
    model = Script(gp.Response("", parts=calls, finish_reason="tool"), called(GOOD))
    assert (await ask(model, mode="tool")).value == Verdict("bug", 3)
    assert "- $: there is more than one JSON object" in model.prompts[1]
    with pytest.raises(gp.Truncated) as caught:
        await ask(Script(called(GOOD[:9], "length")), mode="tool")
    assert caught.value.partial == GOOD[:9]


async def test_a_choice_may_be_asked_for_by_a_tool() -> None:
    """``mode="tool"`` is obeyed for choices too, which else are labels."""
    model = Script(called('{"value": "bad"}'))
    assert (await ask(model, mode="tool", output=Mood)).value is Mood.BAD


async def test_a_provider_that_tells_of_tools_alone_is_asked_by_one() -> None:
    """``auto`` takes the best of what the provider says."""

    class Calling(Script):
        output_modes = ("tool", "prompt")

    model = Calling(called(GOOD))
    await ask(model)
    assert model.requests[0].tools


async def test_texts_to_choose_from_are_labels() -> None:
    """A choice among texts goes to the provider as such, also to one that knows nothing else."""
    model = Script("good", "bug")
    assert (await ask(model, output=Mood)).value is Mood.GOOD
    assert (await ask(model, output=Literal["bug", "praise"])).value == "bug"
    assert [request.labels for request in model.requests] == [("good", "bad"), ("bug", "praise")]


async def test_a_text_is_the_answer_as_it_is() -> None:
    """With ``output=str`` nothing is read into the answer; an empty one is none."""
    assert (await ask(Script("So be it."), output=str)).value == "So be it."
    model = Script(" ", "now")
    assert (await ask(model, output=str)).value == "now"
    assert (
        model.prompts[1] == "This answer cannot be used:\n- $: the answer is empty\nAnswer again."
    )


async def test_a_bad_answer_is_sent_back_with_its_errors() -> None:
    """The model sees its answer and each error with its place, and may answer once more."""
    model = Script(said(BAD), GOOD)
    assert (await ask(model)).value == Verdict("bug", 3)
    first, again = model.requests
    assert again.messages[:-2] == first.messages
    assert again.messages[-2] == gp.Message("assistant", BAD)
    assert again.prompt == (
        "This answer cannot be used:\n"
        '- $.topic: "rant" is none of "bug", "praise"\n'
        '- $.score: "3" is not a whole number\n'
        "Answer again, with the whole JSON document, corrected, and nothing else."
    )
    assert again.fingerprint() != first.fingerprint()


async def test_what_stays_bad_is_an_invalid_answer() -> None:
    """After the last time, the error has the text, and every issue with its place."""
    model = Script(said(BAD), said(BAD), said(BAD))
    with pytest.raises(errors.InvalidAnswer) as caught:
        await ask(model, reasks=2, name="sort")
    assert model.calls == 3
    assert caught.value.text == BAD
    assert [path for path, _ in caught.value.issues] == ["$.topic", "$.score"]
    assert str(caught.value) == (
        'sort: the answer is no Verdict (asked 3 times): $.topic: "rant" is none of "bug", '
        '"praise"; $.score: "3" is not a whole number'
    )
    with pytest.raises(errors.InvalidAnswer, match="no Verdict: "):
        await ask(Script(said(BAD)), reasks=0)


async def test_a_cut_answer_gets_more_room_once() -> None:
    """Cut at the limit, the answer is asked for with twice the room, and from the beginning."""
    model = Script(said(GOOD[:9], "length"), GOOD)
    assert (await ask(model, max_output_tokens=25)).value == Verdict("bug", 3)
    assert [request.max_output_tokens for request in model.requests] == [25, 50]
    assert model.requests[0].messages == model.requests[1].messages


async def test_an_answer_cut_twice_is_truncated() -> None:
    """No more than one further attempt is paid for; what arrived is in the error."""
    model = Script(said("{", "length"), said(GOOD[:9], "length"))
    with pytest.raises(gp.Truncated) as caught:
        await ask(model, max_output_tokens=25, raise_cap=3)
    assert caught.value.partial == GOOD[:9]
    assert [request.max_output_tokens for request in model.requests] == [25, 75]


async def test_room_that_the_model_does_not_have_is_truncation() -> None:
    """When the API refuses the raised limit, the record fails for what it asked, and why."""
    refused = errors.InvalidRequest("400: max_tokens is too large")
    with pytest.raises(gp.Truncated, match="was cut at the output limit") as caught:
        await ask(Script(said("{", "length"), refused), max_output_tokens=25)
    assert caught.value.partial == "{"
    assert isinstance(caught.value.__cause__, errors.InvalidRequest)
    with pytest.raises(errors.InvalidRequest):
        await ask(Script(refused), max_output_tokens=25)


@pytest.mark.parametrize("options", [{}, {"max_output_tokens": 25, "raise_cap": 1}])
async def test_room_that_cannot_be_raised_is_not(options: dict[str, Any]) -> None:
    """Without a limit of the request's own, or with a factor of one, a cut answer fails at once."""
    model = Script(said("{", "length"))
    with pytest.raises(gp.Truncated, match="generate-Verdict: the answer was cut"):
        await ask(model, **options)


async def test_a_whole_document_that_was_cut_is_no_answer() -> None:
    """The end is judged before the text: what parses by chance may be half of the truth."""
    with pytest.raises(gp.Truncated):
        await ask(Script(said(GOOD, "length")))


async def test_more_room_is_kept_when_asked_again() -> None:
    """A bad answer that followed on a cut one is asked for again with the larger limit."""
    model = Script(said("{", "length"), said(BAD), GOOD)
    await ask(model, max_output_tokens=25)
    assert [request.max_output_tokens for request in model.requests] == [25, 50, 50]


async def test_errors_of_providers_count_as_their_answers() -> None:
    """A provider that raises on a cut or a useless answer is treated as one that returns it."""
    cut = errors.Truncated("cut", partial="{")
    useless = errors.InvalidAnswer("no document", text=BAD)
    model = Script(cut, useless, GOOD)
    assert (await ask(model, max_output_tokens=25)).value == Verdict("bug", 3)
    assert [request.max_output_tokens for request in model.requests] == [25, 50, 50]
    assert model.requests[2].messages[-2] == gp.Message("assistant", BAD)


@pytest.mark.extras
async def test_what_a_provider_found_useless_may_be_mended() -> None:
    """The text that came with a provider's error is read as any answer is."""
    error = errors.InvalidAnswer("no document", text=GOOD[:-1] + ",}")
    assert (await ask(Script(error))).attributes["repaired"]


async def test_an_invalid_answer_without_words_is_not_sent_back() -> None:
    """Where the provider has no text of the model's, there is nothing to speak about."""
    with pytest.raises(errors.InvalidAnswer, match="HTML"):
        await ask(Script(errors.InvalidAnswer("HTML instead of JSON")))


@pytest.mark.parametrize(
    ("finish", "by"), [("refusal", "the model"), ("filter", "the content filter")]
)
async def test_a_refusal_is_its_own_outcome(finish: Any, by: str) -> None:
    """Neither retried nor sent back: the record fails with what was said."""
    model = Script(said("I will not.", finish))
    with pytest.raises(gp.Refused, match=f"{by} refused: I will not") as caught:
        await ask(model)
    assert caught.value.explanation == "I will not."
    assert model.calls == 1
    with pytest.raises(gp.Refused, match=f"{by} refused$"):
        await ask(Script(said("", finish)))
    assert errors.classify(caught.value) == "permanent"


@pytest.mark.extras
async def test_a_mended_answer_is_marked() -> None:
    """The record of an answer that had to be mended says so."""
    record = await ask(Script(said(GOOD[:-1] + ",}")))
    assert record.value == Verdict("bug", 3)
    assert record.attributes == {"tenant": "a", "repaired": True}


@pytest.mark.parametrize(("finish", "repair"), [("stop", False), ("other", True), ("tool", True)])
async def test_what_may_not_be_whole_is_not_mended(finish: Any, repair: bool) -> None:
    """Mending stops where it is switched off, or the provider does not say that it is the end."""
    with pytest.raises(errors.InvalidAnswer, match="no JSON object"):
        await ask(Script(said(GOOD[:-1] + ",}", finish)), repair=repair, reasks=0)
    assert (await ask(Script(said(GOOD, finish)), repair=repair)).value == Verdict("bug", 3)


@pytest.mark.extras
async def test_all_of_it_is_told_as_events() -> None:
    """Each thing done about an answer is an event, in order."""
    script = [said("{", "length"), said(BAD), said(GOOD[:-1])]
    assert await told(Script(*script), max_output_tokens=25) == [
        "cap_raised",
        "reasked",
        "repaired",
    ]
    assert await told(Script(GOOD)) == []
    assert await told(Script(said(BAD)), reasks=0) == []


async def test_an_empty_answer_is_not_repeated_to_the_model() -> None:
    """APIs refuse empty turns, so only the error goes back."""
    model = Script(said(""), GOOD)
    await ask(model)
    assert [message.role for message in model.requests[1].messages] == ["user", "user"]


async def test_routes_can_what_all_their_targets_can() -> None:
    """Policies change nothing; of several targets, the poorest decides how all are asked."""

    async def plain(request: gp.Request) -> gp.Response:
        return gp.Response(GOOD)

    async def mode(model: Any) -> str:
        script.requests.clear()
        await ask(model)
        return "prompt" if script.requests[-1].schema is None else "native"

    script = Script(then=lambda _: GOOD)
    assert await mode(gp.wrap(script, gp.Timeout(9))) == "native"
    assert await mode(gp.resilient(script)) == "native"
    assert await mode(gp.wrap(script, gp.Fallback(plain))) == "prompt"
    assert await mode(gp.wrap(script, gp.Fallback(gp.resilient(script)))) == "native"
    assert await mode(gp.Degrade(("a", script), ("b", gp.Canned(GOOD)))) == "native"
    assert await mode(gp.Degrade(("a", script), ("b", plain))) == "prompt"
    assert await mode(gp.LoadBalance({"a": script, "b": script})) == "native"
    known = gp.wrap(gp.cache_only, gp.Cache(store=gp.stores.Memory(), scope="a"))
    assert await mode(gp.Degrade(("a", script), ("known", known))) == "native"


async def test_the_mode_can_be_chosen() -> None:
    """``mode=`` overrules what the provider says of itself."""
    model = Script(GOOD, GOOD)
    await ask(model, mode="prompt")
    await ask(gp.wrap(model), mode="native")
    assert [request.schema is None for request in model.requests] == [True, False]


OVER_HTTP: list[Any] = [
    gp.providers.OpenAI("m", base_url="http://127.0.0.1:9/v1"),
    gp.providers.Gemini("m", base_url="http://127.0.0.1:9"),
    gp.providers.Bedrock("m", base_url="http://127.0.0.1:9", api_key="k" * 8),
    gp.providers.Ollama("m"),
    gp.providers.Anthropic("m", base_url="http://127.0.0.1:9", max_output_tokens=9),
    gp.providers.OpenAIResponses("m", base_url="http://127.0.0.1:9/v1"),
    gp.providers.AzureOpenAI("m", base_url="http://127.0.0.1:9/openai/v1", api_key="k" * 8),
]


@pytest.mark.parametrize("provider", OVER_HTTP, ids=lambda each: type(each).__name__)
async def test_providers_can_what_they_say(provider: Any) -> None:
    """Each way in which a provider says it can be asked has a body in its API."""
    mode: Any
    for mode in sorted(modes_of(provider) - {"labels"}):
        form = form_of(output_of(Verdict), provider, mode)
        assert form.name == mode
        assert provider._dialect.body(form.asked(gp.Request("x")), streamed=False)
    form = form_of(output_of(Mood), provider, "auto")
    assert form.name == "labels"
    assert provider._dialect.body(form.asked(gp.Request("x")), streamed=False)


@pytest.mark.extras
async def test_the_embedded_model_files_records() -> None:
    """`Local` chooses among labels, offline, from a function's bare text."""
    stage = gp.generate(
        gp.providers.Local(), prompt=lambda text: text, output=Literal["sport", "food"]
    )
    (record,) = await stage(gp.Record("Fry the onions in butter."))
    assert record.value == "food"
    with pytest.raises(gp.ConfigurationError, match="what the provider can, which is: labels"):
        gp.generate(gp.providers.Local(), prompt="{value}", output=Verdict)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reasks": 6}, "generate: reasks=6; give a whole number, 0 to 5"),
        ({"raise_cap": 0.5}, "generate: raise_cap=0.5; give a number, 1 to 8"),
        ({"repair": 1}, "generate: repair=1; give True or False"),
        ({"delimit": None}, "generate: delimit=None"),
        ({"mode": "json"}, "generate: mode='json'; give one of 'auto', 'native', 'tool', 'prompt'"),
        ({"temperature": 9}, "temperature=9"),
        ({"max_output_tokens": 0}, "max_output_tokens=0"),
        ({"extra": {"x": object()}}, "extra"),
        ({"name": ""}, "generate: name=''"),
        ({"version": 2}, "generate: version=2"),
        ({"on_unknown": "ask"}, "generate: on_unknown='ask'"),
        ({"prompt": ask}, "generate: prompt=<function ask"),
        ({"prompt": 3}, "generate: prompt=3"),
        ({"prompt": str, "input": str}, "generate: prompt="),
        ({"prompt": lambda text: text, "input": str}, "generate: input="),
        ({"provider": Script}, "generate: provider=<class"),
    ],
)
async def test_wrong_options_are_refused_when_built(options: dict[str, Any], message: str) -> None:
    """Each error names the option, its value and what is allowed."""
    given = {"provider": Script(), "prompt": "{value}", "output": Verdict, **options}
    with pytest.raises(gp.ConfigurationError) as caught:
        gp.generate(given.pop("provider"), **given)
    assert message in str(caught.value)


async def test_a_prompt_that_answers_nonsense_is_a_mistake() -> None:
    """A function that answers no request, or one with a schema of its own, is told."""
    with pytest.raises(gp.ConfigurationError, match="answered a int"):
        await ask(Script(), prompt=len)
    given: Any
    for given in (
        {"schema": {"type": "object"}},
        {"labels": ["a", "b"]},
        {"tools": [gp.Tool("look")]},
    ):
        with pytest.raises(gp.ConfigurationError, match="output= says what is asked for"):
            await ask(Script(), prompt=partial(gp.Request, **given))


async def test_equal_stages_are_known_by_the_same_and_others_by_another() -> None:
    """The fingerprint is that of template, parameters and shape, and not of how hard to try."""

    def fingerprint(**options: Any) -> Any:
        options = {"prompt": "About {value}", "output": Verdict, **options}
        return gp.generate(Script(), **options).fingerprint  # type: ignore[attr-defined]

    same: list[dict[str, Any]] = [
        {},
        {"reasks": 3},
        {"raise_cap": 4},
        {"repair": False},
        {"name": "x"},
    ]
    assert len({fingerprint(**options) for options in same}) == 1
    others: list[dict[str, Any]] = [
        {"prompt": "On {value}"},
        {"system": "s"},
        {"temperature": 1},
        {"max_output_tokens": 9},
        {"extra": {"seed": 1}},
        {"output": Mood},
        {"output": str},
        {"mode": "prompt"},
        {"mode": "tool"},
        {"delimit": False},
    ]
    assert len({fingerprint(**options) for options in [*others, {}]}) == len(others) + 1
    held = gp.generate(Script(), prompt="{value}", output=str, on_unknown="hold", version="2")
    assert mark_of("ask", held).on_unknown == "hold"
    once = gp.generate(Script(), prompt="{value}", output=str)
    assert mark_of("ask", held).version != mark_of("ask", once).version


async def test_errors_leave_nothing_behind() -> None:
    """What was wrong with answers is gone with them, also when the record fails in the end."""
    kinds = (errors.InvalidAnswer, gp.Truncated, Unfit)
    for kind in kinds:
        script = [said("{", "length"), said(BAD), said(BAD)]
        with no_cycles_of(kind):
            try:
                await ask(Script(*script), max_output_tokens=25)
            except errors.InvalidAnswer:
                pass
