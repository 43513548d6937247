"""The part of `JournalContract` that is about records: who takes them up, and when."""

from __future__ import annotations

from typing import Any

from genai_pipeline._group_body import packed_group
from genai_pipeline._journal import CallEnd, ItemEnd, Journal
from genai_pipeline._journal_admin import Selector
from genai_pipeline.testing._journal_samples import begin as _begin
from genai_pipeline.testing._journal_samples import end as _end
from genai_pipeline.testing._journal_samples import intent as _intent
from genai_pipeline.testing._journal_tests import JournalTests

__all__ = ["JournalRecordsContract"]

_ODD_KEYS = ["", " ", "a", "A", "a/b", "a\0b", "a\n", "clé", "cle\u0301", "\ud800", "x" * 5000]


class JournalRecordsContract(JournalTests):
    """Tests of which records a run takes up, and which it passes by."""

    def test_a_finished_record_is_passed_by(self, anyio_backend_name: str) -> None:
        """What is done is finished under its fingerprint alone; what is dead under any."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            for key, state in (("a", "done"), ("b", "filtered"), ("c", "dead"), ("d", "ready")):
                await _end(journal, (await journal.claim(run, key)).item, state)
            same = await journal.finished("p", "f")
            other = await journal.finished("p", "g")
            assert [key in same for key in "abcd"] == [True, True, True, False]
            assert [key in other for key in "abcd"] == [False, False, True, False]
            assert (len(same), len(other)) == (3, 1)
            assert len(await journal.finished("another", "f")) == 0
            assert [(await journal.claim(run, key)).state for key in "abcd"] == [
                *("done", "filtered", "dead", "claimed")
            ]

        self._run(anyio_backend_name, check)

    def test_one_worker_carries_a_record(self, anyio_backend_name: str) -> None:
        """A record that is being carried is not another worker's; its end frees it."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            first = await journal.claim(run, "a")
            assert (first.state, (await journal.claim(run, "a")).state) == ("claimed", "ready")
            await _end(journal, first.item, "ready")
            assert (await journal.claim(run, "a")).state == "claimed"

        self._run(anyio_backend_name, check)

    def test_a_held_record_waits(self, anyio_backend_name: str) -> None:
        """What is held is taken up by a later run if it is to resume, and else by nobody."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            for key, resumes in (("person", False), ("money", True)):
                item = (await journal.claim(run, key)).item
                await journal.end_item(
                    item, ItemEnd(state="held", at=1.0, fingerprint="f", resumes=resumes)
                )
                assert (await journal.claim(run, key)).state == "held"
            later = await _begin(journal)
            assert (await journal.claim(later, "person")).state == "held"
            assert (await journal.claim(later, "money")).state == "claimed"

        self._run(anyio_backend_name, check)

    def test_a_group_goes_with_its_records(self, anyio_backend_name: str) -> None:
        """Releasing one gives the group's lost calls up; redriving all of them opens it again."""

        async def check(journal: Any) -> None:
            if not (hasattr(journal, "redrive") and hasattr(journal, "release")):
                return
            run = await _begin(journal)
            items = [(await journal.claim(run, key)).item for key in "ab"]
            inner = await journal.freeze_group(
                run, "g", [bytes(16)], packed_group(["a", "b"], [1, 2], items)
            )
            member = b"o" * 16
            outer = await journal.freeze_group(
                run, "o", [member], packed_group(["i"], [[1, 2]], [inner.item])
            )
            call = await journal.begin_call(_intent(run, outer.item))
            await journal.end_call(call, CallEnd(state="unknown", at=2.0))
            await _end(journal, items[0], "held")
            assert await journal.release(Selector(state="held")) == 1
            (known,) = (await journal.group_of(run, member)).calls
            assert known.state == "abandoned"
            await journal.claim(run, "a")
            for item in (outer.item, inner.item, *items):
                await _end(journal, item, "dead")
            for key in "ab":  # one after the other
                assert await journal.redrive(Selector(keys=(key,))) == 1
                assert (await journal.group_of(run, member)).state == "dead"
            for key in "ab":
                claim = await journal.claim(run, key)
                assert claim.reuses_from == 0
                await _end(journal, claim.item, "dead")
            assert await journal.redrive(Selector()) == 2
            assert (await journal.group_of(run, member)).state == "claimed"
            for key in "ab":
                await _end(journal, (await journal.claim(run, key)).item, "dead")
            assert await journal.redrive(Selector(), reuse=False) == 2
            assert (await journal.claim(run, "a")).reuses_from == 3

        self._run(anyio_backend_name, check)

    def test_any_text_is_a_key(self, anyio_backend_name: str) -> None:
        """Keys that are empty, long or hold odd characters are all different."""

        async def check(journal: Journal) -> None:
            run = await _begin(journal)
            items = {(await journal.claim(run, key)).item for key in _ODD_KEYS}
            assert len(items) == len(_ODD_KEYS)
            assert all(len(item) == 16 for item in items)
            assert set(await journal.past_calls([*_ODD_KEYS, "new"], "p")) == set(_ODD_KEYS)

        self._run(anyio_backend_name, check)
