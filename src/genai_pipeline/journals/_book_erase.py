"""Erasing what the book behind `Memory` keeps of a subject."""

from __future__ import annotations

import attrs

from genai_pipeline._journal_admin import Erased
from genai_pipeline.journals._book import Book, BookCall, BookItem
from genai_pipeline.journals._book_keeper import Keeper, part_of, was_made

__all__ = ["Eraser"]


@attrs.define(eq=False)
class Eraser:
    """Erases from a book; each method is one commit."""

    book: Book
    keeper: Keeper

    def told(self, subject: str) -> Erased:
        """Answer what there is to erase of *subject*."""
        records, groups = self._records(subject), self._groups(subject)
        calls, names = self._calls(records, groups), set(self._names(records, groups))
        keys = {generations[-1].key for generations in records.values()} - {None}
        return Erased(
            records=len(records),
            groups=len(groups),
            calls=len(calls),
            rows=sum(
                owner in names
                for table in self.book.tables.values()
                for owner, _ in table.rows.values()
            ),
            keys=tuple(sorted(key for key in keys if key is not None)),
            requests=tuple(
                (call.intent.provider, call.end.request_id)
                for call in calls
                if call.end is not None and call.end.request_id
            ),
        )

    def is_carried(self, subject: str) -> bool:
        """Whether a worker carries a record of *subject*."""
        records, groups = self._records(subject), self._groups(subject)
        return any(
            generations[-1].life.state == "claimed" for generations in records.values()
        ) or any(call.state == "inflight" for call in self._calls(records, groups))

    def erase(self, subject: str) -> Erased:
        """Forget what is kept of *subject*."""
        found = self.told(subject)
        records, groups = self._records(subject), self._groups(subject)
        for table in self.book.tables.values():
            table.drop(self._names(records, groups))
        for call in self._calls(records, groups):
            if was_made(call):
                self.keeper.past_costs.append((subject, part_of(call, self.book)))
            del self.book.calls[call.number]
        for record, generations in records.items():
            self.book.calls_of.pop(record, None)
            self.book.erased[record] = generations[-1].pipeline
            del self.book.records[record]
            for each in generations:
                del self.book.items[each.item]
        for group in groups:
            self.book.calls_of.pop(group[:-2], None)
            del self.book.items[group]
            self.book.bodies.pop(group, None)
            self.book.subjects_of_group.pop(group)
        self.book.group_of_member = {
            member: group
            for member, group in self.book.group_of_member.items()
            if group not in groups
        }
        self.keeper.past_costs[:] = [
            (None, attrs.evolve(part, labels={})) if whose == subject else (whose, part)
            for whose, part in self.keeper.past_costs
        ]
        return found

    def _records(self, subject: str) -> dict[bytes, list[BookItem]]:
        return {
            record: generations
            for record, generations in self.book.records.items()
            if any(each.subject == subject for each in generations)
        }

    def _groups(self, subject: str) -> list[bytes]:
        return [
            item
            for item, subjects in sorted(self.book.subjects_of_group.items())
            if subject in subjects
        ]

    def _names(self, records: dict[bytes, list[BookItem]], groups: list[bytes]) -> list[bytes]:
        return sorted([*records, *(group[:-2] for group in groups)])

    def _calls(self, records: dict[bytes, list[BookItem]], groups: list[bytes]) -> list[BookCall]:
        names = self._names(records, groups)
        return [call for name in names for call in self.book.calls_of.get(name, ())]
