"""``resume`` and ``plan``: running again goes on, and what that means is told before."""

from __future__ import annotations

from pathlib import Path

from tests.cli.journal_jobs import END, bill, plain, say, write_jobs


def test_resume_after_a_crash(crashed: Path) -> None:
    """It tells what is passed by and what goes on; nothing that was answered is paid for again."""
    (status,) = plain("status", "run.db")["pipelines"]
    counts = status["records"]
    unknown = plain("status", "run.db")["unknown_calls"]
    said = say("resume", "paid.py:pipeline", "--progress", "none")
    assert said.code == 0
    lines = said.err.splitlines()
    assert lines[0].startswith("asked: run 1 died, begun ")
    ended = counts["done"] + counts.get("dead", 0)
    assert lines[1] == f"  {ended} records are passed by"
    assert lines[2] == f"  {counts['ready']} records go on; their answered calls are replayed"
    assert f"{END} read" in said.err
    assert f"{ended} skipped" in said.err
    assert len(bill(crashed)) <= END + unknown
    assert set(bill(crashed)) == {f"number {number}" for number in range(END)}


def test_resume_when_all_is_done(crashed: Path) -> None:
    """Resumed once more, everything is passed by and nothing is called."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    paid = bill(crashed)
    said = say("resume", "paid.py:pipeline")
    assert f"  {END} records are passed by" in said.err.splitlines()
    assert "go on" not in said.err
    assert bill(crashed) == paid


def test_resume_after_a_change(crashed: Path) -> None:
    """When a stage has another version, it says that what is done goes through again."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    said = say("resume", "paid.py:pipeline", "-p", "version=2", "--dry-run")
    dead = plain("status", "run.db")["pipelines"][0]["records"]["dead"]
    assert f"  {dead} records are passed by" in said.err.splitlines()
    assert f"  {END - dead} that have ended go through again, since a stage has changed" in said.err


def test_first_run(crashed: Path) -> None:
    """Of a journal that knows nothing of the pipeline, that is said, and it is run."""
    for path in (crashed / "run.db", crashed / "run.db-wal", crashed / "run.db.status"):
        path.unlink()
    said = say("resume", "paid.py:pipeline")
    assert said.code == 0
    assert said.err.startswith("asked: the journal knows no record of it; this is its first run\n")
    assert f"{END} read" in said.err


def test_resume_needs_a_journal(crashed: Path) -> None:
    """A pipeline without a journal is refused before anything is read or called."""
    paid = bill(crashed)
    said = say("resume", "paid.py:forgetful")
    assert said.code == 78
    assert 'give it journal=gp.Sqlite("run.db"), or use `run`' in said.err
    assert bill(crashed) == paid


def test_plan(crashed: Path) -> None:
    """The plan tells what is finished, reused and unknown, and calls and changes nothing."""
    status, paid = plain("status", "run.db"), bill(crashed)
    counts = status["pipelines"][0]["records"]
    plan = plain("plan", "paid.py:pipeline")
    assert plan["records"] == END
    assert plan["finished"] == counts["done"] + counts.get("dead", 0)
    assert plan["begun"] == counts["ready"]
    assert plan["unknown"] == status["unknown_calls"]
    assert plan["reuse"] + plan["unknown"] >= counts["ready"] - 3
    said = say("plan", "paid.py:pipeline", "--walk", "30", "--backend", "trio")
    assert said.code == 0
    assert said.lines[0] == (f"records   {END}: {plan['finished']} finished, {plan['begun']} begun")
    assert any(line.startswith("walked ") for line in said.lines)
    assert max(map(len, said.lines)) <= 80
    assert bill(crashed) == paid
    after = plain("status", "run.db")["pipelines"][0]
    assert (after["records"], after["last_run"]["run"]) == (counts, 1)


def test_plan_of_a_change(crashed: Path) -> None:
    """A stage of another version is planned to be bought again, as it then is."""
    assert say("resume", "paid.py:pipeline", "-q").code == 0
    plan, paid = plain("plan", "paid.py:pipeline", "-p", "version=2"), len(bill(crashed))
    assert (plan["finished"] + plan["begun"], plan["reuse"]) == (END, 0)
    assert say("resume", "paid.py:pipeline", "-p", "version=2", "-q").code == 0
    assert plan["new"] == len(bill(crashed)) - paid


def test_plan_needs_a_journal_and_a_pipeline(crashed: Path) -> None:
    """Without a journal there is nothing to plan by, and without a pipeline nothing to plan."""
    write_jobs(crashed)
    without = say("plan", "paid.py:forgetful")
    assert (without.code, "needs journal=" in without.err) == (78, True)
    nowhere = say("plan", "nowhere.py")
    assert (nowhere.code, "nowhere.py does not exist" in nowhere.err) == (2, True)
