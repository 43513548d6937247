"""Secrets: where they come from, and that they show nowhere."""

from __future__ import annotations

import copy
import json
import logging
import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline._secret import to_secret
from genai_pipeline.testing import FakeClock

CANARY = "sk-canary-0123456789"


def answer_canary() -> str:
    """Answer the key, as a function that can be imported."""
    return CANARY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file that holds the key, fit for it."""
    path = tmp_path / "key"
    path.write_text(f"{CANARY}\n", "utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture(params=["text", "env", "file", "function"])
def secret(request: pytest.FixtureRequest, file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a secret of each kind."""
    monkeypatch.setenv("CANARY_KEY", CANARY)
    return {
        "text": gp.Secret(CANARY),
        "env": gp.Secret.from_env("CANARY_KEY"),
        "file": gp.Secret.from_file(file),
        "function": gp.Secret.from_function(answer_canary),
    }[request.param]


@pytest.mark.anyio
async def test_a_secret_shows_nowhere(
    secret: gp.Secret, capsys: pytest.CaptureFixture[str]
) -> None:
    """No text, form, log, copy or state of a secret holds its value, before or after its use."""
    for _ in range(2):
        structlog.get_logger().info("told", key=secret)
        structlog.wrap_logger(
            structlog.PrintLogger(), processors=[structlog.processors.JSONRenderer()]
        ).info("told", key=secret)
        logging.getLogger("test").warning("%s %r", secret, secret)
        shown = [
            repr(secret),
            str(secret),
            f"{secret} {secret!r} {secret:>60}",
            repr([secret]),
            repr(copy.copy(secret)),
            repr(copy.deepcopy({"key": secret})),
            repr(dir(secret)),
            json.dumps({"key": secret}, default=repr),
            repr(attrs.asdict(_Holder(secret))),
            capsys.readouterr().out,
        ]
        assert [text for text in shown if CANARY in text] == []
        with pytest.raises(TypeError):
            secret.__getstate__()
        with pytest.raises(TypeError):
            vars(secret)
        with pytest.raises(TypeError):
            json.dumps(secret)
        assert await secret.reveal() == CANARY


@attrs.frozen
class _Holder:
    secret: gp.Secret


def test_a_request_takes_no_secret() -> None:
    """A secret cannot become part of a request, and hence of no fingerprint, journal or cache."""
    with pytest.raises(gp.ConfigurationError) as caught:
        gp.Request("hello", extra={"key": gp.Secret(CANARY)})
    assert CANARY not in str(caught.value)


@pytest.mark.anyio
async def test_what_is_pickled_is_where_it_comes_from(secret: gp.Secret) -> None:
    """The value is in no pickle: a text refuses, and the others find their key again."""
    assert await secret.reveal() == CANARY
    if repr(secret) == "Secret(***)":
        with pytest.raises(TypeError, match="from_env"):
            pickle.dumps(secret)
        return
    data = pickle.dumps(secret)
    assert CANARY.encode() not in data
    again = pickle.loads(data)
    assert repr(again) == repr(secret)
    assert await again.reveal() == CANARY


def test_a_copy_is_the_secret_itself(secret: gp.Secret) -> None:
    """Copies share what was looked up."""
    assert copy.copy(secret) is copy.deepcopy(secret) is secret


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gp.Secret(""), "value='…'"),
        (lambda: gp.Secret(" "), "value='…'"),
        (lambda: gp.Secret(None), "value='…'"),  # type: ignore[arg-type]
        (lambda: gp.Secret.from_env(""), "variable=''"),
        (lambda: gp.Secret.from_env("a=b"), "variable='a=b'"),
        (lambda: gp.Secret.from_file(""), "path=''"),
        (lambda: gp.Secret.from_function("sk"), "get='sk'"),  # type: ignore[arg-type]
        (lambda: gp.Secret.from_function(str), "give a function"),
        (lambda: gp.Secret.from_function(answer_canary, early=-1), "early=-1"),
        (lambda: to_secret(3), "api_key=… is no key"),  # type: ignore[arg-type]
        (lambda: to_secret(""), "api_key=… is no key"),
    ],
)
def test_a_wrong_secret_is_told_when_built(make: Callable[[], object], words: str) -> None:
    """What cannot hold a key raises at once."""
    with pytest.raises(gp.ConfigurationError, match=words):
        make()


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_is_kept_to_the_letter(text: str) -> None:
    """A secret reveals the very text it was given, and never shows it."""
    secret = gp.Secret(text)
    assert anyio.run(secret.reveal) == text
    assert repr(secret) == "Secret(***)"


@pytest.mark.anyio
async def test_a_variable_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is exported later counts; white space around it does not."""
    secret = gp.Secret.from_env("CANARY_KEY")
    monkeypatch.delenv("CANARY_KEY", raising=False)
    with pytest.raises(errors.AuthenticationFailed, match="environment variable CANARY_KEY"):
        await secret.reveal()
    for text in ("one", " two\n"):
        monkeypatch.setenv("CANARY_KEY", text)
        assert await secret.reveal() == text.strip()


@pytest.mark.anyio
async def test_a_file_is_read_again_when_it_changes(file: Path) -> None:
    """A key is rotated by replacing its file, or what is in it."""
    secret = gp.Secret.from_file(str(file))
    assert await secret.reveal() == CANARY
    file.write_text("sk-second", "utf-8")
    os.utime(file, (1, 1))
    assert await secret.reveal() == "sk-second"
    other = file.with_name("other")
    other.write_text("sk-third!", "utf-8")
    other.chmod(0o600)
    other.replace(file)
    assert await secret.reveal() == "sk-third!"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "owner", "fine"),
    [
        (0o600, 0, True),
        (0o400, 0, True),
        (0o640, 0, False),
        (0o644, 0, False),
        (0o602, 0, False),
        (0o440, 1, True),
        (0o460, 1, False),
        (0o444, 1, False),
    ],
)
async def test_a_file_that_others_can_read_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, fine: bool
) -> None:
    """Its owner alone may read it, or its group too where the owner is another user."""
    file.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: file.stat().st_uid + owner)
    secret = gp.Secret.from_file(file)
    if fine:
        assert await secret.reveal() == CANARY
        return
    with pytest.raises(gp.ConfigurationError, match=f"mode 0{mode:o}.*chmod 600") as caught:
        await secret.reveal()
    assert str(file) in str(caught.value)
    assert await gp.Secret.from_file(file, allow_readable_by_others=True).reveal() == CANARY


@pytest.mark.anyio
async def test_a_file_is_refused_as_soon_as_others_can_read_it(file: Path) -> None:
    """The mode is looked at as often as the text."""
    secret = gp.Secret.from_file(file)
    await secret.reveal()
    file.chmod(0o604)
    with pytest.raises(gp.ConfigurationError, match="mode 0604"):
        await secret.reveal()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (None, errors.AuthenticationFailed, "cannot be read: No such file"),
        (b" \n", errors.AuthenticationFailed, "is empty"),
        (b"\xff\xfe" + CANARY.encode(), gp.ConfigurationError, "no text in UTF-8"),
        (CANARY.encode() * 5000, gp.ConfigurationError, "has 100000 bytes"),
    ],
)
async def test_a_file_without_a_key_says_so(
    file: Path, data: bytes | None, kind: type[Exception], words: str
) -> None:
    """The error names the file and what is wrong, and shows nothing of what is in it."""
    if data is None:
        file.unlink()
    else:
        file.write_bytes(data)
    with pytest.raises(kind, match=words) as caught:
        await gp.Secret.from_file(file).reveal()
    assert str(file) in str(caught.value)
    _assert_hidden(caught.value)


@pytest.mark.anyio
async def test_a_folder_is_no_key(tmp_path: Path) -> None:
    """A path to something else than a file is refused."""
    with pytest.raises(gp.ConfigurationError, match="no regular file"):
        await gp.Secret.from_file(tmp_path).reveal()


class Vault:
    """Answers keys in turn, each as a text, a pair, or an error to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.gate: anyio.Event | None = None

    async def __call__(self) -> Any:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.anyio
async def test_a_function_is_asked_once() -> None:
    """A key without an end is kept, whatever kind of function answers it."""
    vault = Vault("one")
    secret = gp.Secret.from_function(vault)
    assert [await secret.reveal(), await secret.reveal()] == ["one", "one"]
    assert vault.asked == 1
    for get in (answer_canary, lambda: Vault(CANARY)()):
        assert await gp.Secret.from_function(get).reveal() == CANARY


@pytest.mark.anyio
async def test_a_key_is_renewed_before_it_expires(clock: FakeClock) -> None:
    """A pair tells how long a key lasts; the function is asked again in good time."""
    vault = Vault(("one", 600), ("two", 600), ("three", 600))
    secret = gp.Secret.from_function(vault, early=60, clock=clock)
    heard = []
    for seconds in (0, 539, 2, 538, 700):
        clock.advance(seconds)
        heard.append(await secret.reveal())
    assert heard == ["one", "one", "two", "two", "three"]


@pytest.mark.anyio
async def test_callers_wait_for_one_who_asks(clock: FakeClock) -> None:
    """Many calls at once ask once; while a key still holds, nobody waits."""
    vault = Vault(("one", 600), ("two", 600))
    secret = gp.Secret.from_function(vault, early=60, clock=clock)
    heard: list[str] = []

    async def read() -> None:
        heard.append(await secret.reveal())

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(read)
    assert (heard, vault.asked) == (["one"] * 50, 1)
    clock.advance(550)
    vault.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        assert await secret.reveal() == "one"
        vault.gate.set()
    assert (heard[-1], vault.asked) == ("two", 2)


@pytest.mark.anyio
async def test_a_cancelled_asker_leaves_the_place_to_others() -> None:
    """Whoever waited asks then, and gets the key."""
    vault = Vault("one")
    vault.gate = anyio.Event()
    secret = gp.Secret.from_function(vault)
    heard: list[str] = []

    async def read() -> None:
        heard.append(await secret.reveal())

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as first:
                first.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                group.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        vault.gate.set()
    assert (heard, vault.asked) == (["one"], 2)


@pytest.mark.anyio
async def test_a_key_that_holds_outlives_a_failing_vault(clock: FakeClock) -> None:
    """While a key has not expired, a function that fails is no failure of calls."""
    vault = Vault(("one", 600), OSError(CANARY), OSError(CANARY))
    secret = gp.Secret.from_function(vault, early=60, clock=clock)
    await secret.reveal()
    clock.advance(545)
    assert await secret.reveal() == "one"
    assert await secret.reveal() == "one"
    assert vault.asked == 2  # not with every call
    clock.advance(60)
    with pytest.raises(errors.AuthenticationFailed):
        await secret.reveal()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (RuntimeError(CANARY), errors.AuthenticationFailed, "raised RuntimeError"),
        (ConnectionResetError(CANARY), errors.ConnectionFailed, "raised ConnectionResetError"),
        (TimeoutError(CANARY), errors.ConnectionFailed, "raised TimeoutError"),
        (errors.Overloaded("the vault is sealed"), errors.Overloaded, "the vault is sealed"),
        ("", gp.ConfigurationError, "answered none"),
        (CANARY.encode(), gp.ConfigurationError, "answered none"),
        ((CANARY, "soon"), gp.ConfigurationError, "answered none"),
        ((CANARY, 0), gp.ConfigurationError, "answered none"),
        ((CANARY, 1, 2), gp.ConfigurationError, "answered none"),
    ],
)
async def test_a_function_without_a_key_says_so(
    answer: Any, kind: type[Exception], words: str
) -> None:
    """The error says who must act, and shows nothing of what the function said."""
    with pytest.raises(kind, match=words) as caught:
        await gp.Secret.from_function(Vault(answer)).reveal()
    _assert_hidden(caught.value)


@pytest.mark.anyio
async def test_a_refused_key_is_renewed_once(clock: FakeClock) -> None:
    """However many calls were refused with one key, the function is asked once about it."""
    vault = Vault("one", "two", "two", "three")
    secret = gp.Secret.from_function(vault, clock=clock)
    first = await secret.current("p")
    assert [await secret.renew(first, "p") for _ in range(3)] == [True, True, True]
    assert vault.asked == 2
    second = await secret.current("p")
    clock.advance(10)
    assert [await secret.renew(second, "p") for _ in range(3)] == [False, False, False]
    assert vault.asked == 3
    clock.advance(10)
    assert await secret.renew(second, "p")
    assert await secret.reveal() == "three"


@pytest.mark.anyio
async def test_other_keys_are_renewed_by_looking_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable or a file may hold another key by now; a text never does."""
    monkeypatch.setenv("CANARY_KEY", "one")
    for secret in (gp.Secret.from_env("CANARY_KEY"), gp.Secret.from_file(file), gp.Secret("x")):
        assert not await secret.renew(await secret.current("p"), "p")
    environment, by_file = gp.Secret.from_env("CANARY_KEY"), gp.Secret.from_file(file)
    used = await environment.current("p"), await by_file.current("p")
    monkeypatch.setenv("CANARY_KEY", "two")
    file.write_text("sk-two", "utf-8")
    assert await environment.renew(used[0], "p")
    assert await by_file.renew(used[1], "p")
    monkeypatch.delenv("CANARY_KEY")
    assert not await environment.renew(used[0], "p")


def test_one_function_serves_one_event_loop_after_another(anyio_backend_name: str) -> None:
    """A secret of a module is asked for in whichever event loop it is used."""
    vault = Vault(("one", 1e-9), ("two", 1e-9))
    secret = gp.Secret.from_function(vault)
    heard = [anyio.run(secret.reveal, backend=anyio_backend_name) for _ in range(2)]
    assert heard == ["one", "two"]


def _assert_hidden(error: BaseException) -> None:
    chain: BaseException | None = error
    while chain is not None:
        trace = traceback.TracebackException.from_exception(chain, capture_locals=True)
        frames = [f"{frame.name} {frame.locals}" for frame in trace.stack]
        shown = [str(chain), repr(chain.args), repr(vars(chain))]
        shown += [frame for frame in frames if not frame.startswith("test_")]
        assert [text for text in shown if CANARY in text] == []
        chain = chain.__cause__ or chain.__context__
