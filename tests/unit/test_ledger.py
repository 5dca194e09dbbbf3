from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aicsched.account.entry import GENESIS, decode, encode
from aicsched.account.ledger import Ledger
from aicsched.database import use_wal
from aicsched.domain.decision import Decision
from aicsched.errors import AicschedError, InputError, LedgerConflict, LedgerCorrupt, LedgerError, OutputError

if TYPE_CHECKING:
    from collections.abc import Generator

TEXT = st.text(max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)


def decision(number: int, **changes: Any) -> Decision:
    facts: dict[str, Any] = {
        "decision_id": f"id-{number}",
        "decided_at_s": 1_000,
        "kind": "place",
        "subject": f"job-{number % 3}",
        "region": "north",
        "start_s": 3_600 * number,
        "end_s": 3_600 * number + 7_200,
        "energy_kwh": 1 / 3 + number,
        "operational_g": 100.1 * number,
        "embodied_g": 7.0,
        "counterfactual_g": 200.2 * number,
        "intensity_kind": "average",
        "policy": "optimal",
        "reason": "cleaner",
        "inputs": ("DE: file", "SE: file"),
    }
    return Decision(**facts | changes)


SEVEN = [decision(number) for number in range(7)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.db"
    with Ledger(file) as ledger:
        ledger.record(SEVEN)
    return file


def tamper(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_the_chain_is_what_the_docs_say(path: Path) -> None:
    # An oracle of its own: sha256 and json only, nothing from the package.
    previous = hashlib.sha256(b"aicsched-ledger/1").hexdigest()
    assert previous == GENESIS
    for item in SEVEN:
        fields = {name: getattr(item, name) for name in Decision.__slots__}
        body = json.dumps(fields | {"inputs": list(item.inputs)}, sort_keys=True, separators=(",", ":"))
        previous = hashlib.sha256((previous + body).encode()).hexdigest()
    with Ledger(path) as ledger:
        assert ledger.head() == previous
        report = ledger.verify(head=previous)
    assert (report.entries, report.head) == (7, previous)


def test_equal_decisions_give_equal_heads_however_they_are_grouped(path: Path, tmp_path: Path) -> None:
    with Ledger(tmp_path / "other.db") as other, Ledger(path) as ledger:
        for item in SEVEN:
            assert other.record([item]) == 1
        assert other.head() == ledger.head()
    with Ledger(tmp_path / "moved.db") as moved, Ledger(path) as ledger:
        moved.record(reversed(SEVEN))
        assert moved.head() != ledger.head()


def test_repeating_is_harmless(path: Path) -> None:
    with Ledger(path) as ledger:
        head = ledger.head()
        assert ledger.record(SEVEN) == 0
        assert ledger.record([decision(7), decision(7), *SEVEN]) == 1
        assert ledger.record([]) == 0
        assert ledger.head() != head
        assert ledger.verify().entries == 8


def test_one_id_with_two_contents_is_a_conflict_and_nothing_is_written(path: Path) -> None:
    with Ledger(path) as ledger:
        head = ledger.head()
        with pytest.raises(LedgerConflict, match=r"id-3.*entry 4 of .*ledger\.db.*correction"):
            ledger.record([decision(8), decision(3, operational_g=1.0)])
        with pytest.raises(LedgerConflict):
            ledger.record([decision(9), decision(9, reason="other")])
        assert (ledger.head(), len(ledger.entries())) == (head, 7)


def test_entries_come_back_equal_newest_last(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        assert list(ledger.entries()) == SEVEN
        assert list(ledger.entries(limit=2)) == SEVEN[-2:]
        assert list(ledger.entries(subject="job-1")) == [SEVEN[1], SEVEN[4]]
        assert list(ledger.entries(subject="job-1", limit=1)) == [SEVEN[4]]
        assert ledger.entries(subject="'; DROP TABLE entries --") == ()
        assert ledger.entries(limit=0) == ()


@given(st.lists(st.tuples(TEXT, TEXT, NUMBER, NUMBER, st.booleans()), max_size=5))
def test_any_text_and_number_survives(rows: list[tuple[str, str, float, float, bool]]) -> None:
    items = [
        decision(number, subject=subject, reason=reason, operational_g=one, embodied_g=two, synthetic=flag)
        for number, (subject, reason, one, two, flag) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "a ?#%.db") as ledger:
        assert ledger.record(items) == len(items)
        assert list(ledger.entries()) == items
        assert ledger.verify().entries == len(items)


def test_bytes_depend_on_the_value_and_not_on_its_type() -> None:
    numpy = pytest.importorskip("numpy")
    plain = encode(decision(1, energy_kwh=2.0, operational_g=0.0, start_s=0))
    other = encode(
        decision(
            1,
            energy_kwh=numpy.float64(2),
            operational_g=-0.0,
            start_s=numpy.int64(0),
            end_s=numpy.int64(10_800),
        )
    )
    assert plain == other
    assert decode(plain) == decision(1, energy_kwh=2.0, operational_g=0.0, start_s=0)
    assert encode(decision(1, energy_kwh=2)) == encode(decision(1, energy_kwh=2.0))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"operational_g": float("nan")}, "operational_g of nan"),
        ({"counterfactual_g": float("inf")}, "counterfactual_g of inf"),
        ({"decision_id": ""}, "no decision_id"),
        ({"kind": "guess"}, "unknown kind 'guess'.*place, recycle, correct"),
        ({"end_s": -1}, "ends before it starts"),
    ],
)
def test_no_entry_rather_than_a_wrong_one(path: Path, changes: dict[str, Any], words: str) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError, match=words):
            ledger.record([decision(8), decision(9, **changes)])
        assert ledger.verify().entries == 7


@pytest.mark.parametrize(
    ("statements", "words"),
    [
        (["UPDATE entries SET body = replace(body, 'place', 'plaze') WHERE seq = 3"], "entry 3 was changed"),
        (["UPDATE entries SET body = 'x', hash = 'y' WHERE seq = 1"], "entry 1 was changed"),
        (["DELETE FROM entries WHERE seq = 4"], "entry 4 is missing"),
        (["DELETE FROM entries WHERE seq = 1"], "entry 1 is missing"),
        (["DELETE FROM entries WHERE seq > 5"], "entry 6 is missing"),
        (["DELETE FROM entries"], "entry 1 is missing"),
        (
            [
                "UPDATE entries SET seq = 99 WHERE seq = 2",
                "UPDATE entries SET seq = 2 WHERE seq = 3",
                "UPDATE entries SET seq = 3 WHERE seq = 99",
            ],
            "entry 2 doesn't follow",
        ),
        (
            ["DELETE FROM entries WHERE seq = 3", "UPDATE entries SET seq = seq - 1 WHERE seq > 3"],
            "entry 3 doesn't",
        ),
        (["UPDATE entries SET subject = 'job-x' WHERE seq = 5"], "entry 5 is filed"),
        (["UPDATE entries SET decision_id = 'x' WHERE seq = 5"], "entry 5 is filed"),
    ],
)
def test_every_change_is_found_and_named(path: Path, statements: list[str], words: str) -> None:
    tamper(path, *statements)
    for read_only in (False, True):
        with Ledger(path, read_only=read_only) as ledger, pytest.raises(LedgerCorrupt, match=words):
            ledger.verify()


def test_a_cut_end_with_the_counter_set_back_shows_against_a_kept_head(path: Path) -> None:
    with Ledger(path) as ledger:
        head = ledger.head()
    tamper(path, "DELETE FROM entries WHERE seq > 5", "UPDATE sqlite_sequence SET seq = 5")
    with Ledger(path) as ledger:
        assert ledger.verify(head=GENESIS).entries == 5
        with pytest.raises(LedgerCorrupt, match="its end was cut"):
            ledger.verify(head=head)


def test_a_forged_entry_that_is_no_decision_is_found(path: Path) -> None:
    database = sqlite3.connect(path)
    previous = database.execute("SELECT hash FROM entries WHERE seq = 7").fetchone()[0]
    for body in ("[]", "{}", "{", '{"inputs": [], "more": 1}'):
        digest = hashlib.sha256((previous + body).encode()).hexdigest()
        database.execute("INSERT INTO entries VALUES (8, 'f', 'f', ?, ?, ?)", (body, previous, digest))
        database.commit()
        with Ledger(path) as ledger:
            for read in (ledger.verify, ledger.entries):
                with pytest.raises(LedgerCorrupt, match="entry 8 can't be read"):
                    read()
        database.execute("DROP TRIGGER IF EXISTS entries_are_kept")
        database.execute("DELETE FROM entries WHERE seq = 8")
        database.commit()
    database.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE entries SET body = 'x' WHERE seq = 7", "entry 7 was changed"),
        ("DELETE FROM entries WHERE seq = 7", "entry 7 is missing"),
        ("DELETE FROM entries", "entry 1 is missing"),
    ],
)
def test_nothing_is_added_to_a_broken_end(path: Path, statement: str, words: str) -> None:
    tamper(path, statement)
    with Ledger(path) as ledger, pytest.raises(LedgerCorrupt, match=words):
        ledger.record([decision(9)])


def test_the_file_itself_refuses_changes(path: Path) -> None:
    database = sqlite3.connect(path)
    for statement in ("UPDATE entries SET body = 'x'", "DELETE FROM entries WHERE seq = 7"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
    database.close()


def test_damaged_pages_are_found(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[4096 + 8 : 4096 + 400] = b"\xff" * 392
    path.write_bytes(raw)
    with pytest.raises(LedgerCorrupt, match=r"damaged|broken"), Ledger(path) as ledger:
        ledger.verify()


def test_damage_that_sqlite_reports_while_reading_is_ours(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.record([decision(number, reason="x" * 3000) for number in range(7, 30)])
    raw = bytearray(path.read_bytes())
    for page in range(2, len(raw) // 4096):
        raw[4096 * page : 4096 * page + 64] = b"\xff" * 64
    path.write_bytes(raw)
    with Ledger(path) as ledger:
        for read in (ledger.verify, ledger.entries):
            with pytest.raises(LedgerCorrupt):
                read()


# ---------------------------------------------------------------- where it lies
def test_reading_needs_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.db does not exist"):
        Ledger(tmp_path / "absent.db", read_only=True)
    assert not (tmp_path / "absent.db").exists()
    for read_only in (False, True):
        with pytest.raises(InputError, match="is a folder"):
            Ledger(tmp_path, read_only=read_only)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere.ledger\.db.*check the folder"):
        Ledger(tmp_path / "nowhere" / "ledger.db")


@pytest.mark.parametrize("read_only", [False, True])
def test_other_files_are_refused_untouched(tmp_path: Path, read_only: bool) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"\x00\xffnot a database at all" * 500)
    before = garbage.read_bytes()
    with pytest.raises(InputError, match="is no ledger"):
        Ledger(garbage, read_only=read_only)
    assert garbage.read_bytes() == before
    foreign = tmp_path / "foreign.db"
    database = sqlite3.connect(foreign)
    database.execute("CREATE TABLE entries (x)")
    database.close()
    before = foreign.read_bytes()
    with pytest.raises(InputError, match="another program"):
        Ledger(foreign, read_only=read_only)
    assert foreign.read_bytes() == before


def test_a_later_version_is_refused(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(InputError, match="version 2"):
        Ledger(path)


def test_an_empty_file_becomes_a_ledger_only_when_writing(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    file.touch()
    with pytest.raises(InputError, match="another program"):
        Ledger(file, read_only=True)
    with Ledger(file) as ledger:
        assert ledger.verify().entries == 0


def test_reading_leaves_nothing_behind_and_writes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with Ledger(path, read_only=True) as ledger:
        ledger.verify()
        with pytest.raises(LedgerError, match="reading only"):
            ledger.record([decision(9)])
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_closed_ledger_says_so(path: Path) -> None:
    ledger = Ledger(path)
    ledger.close()
    ledger.close()
    for call in (ledger.head, ledger.verify, ledger.entries, lambda: ledger.record(SEVEN)):
        with pytest.raises(LedgerError, match="closed"):
            call()


@contextmanager
def as_nobody(folder: Path, mode: int = 0o555) -> Generator[None]:
    """Run with a plain user's rights in a folder that nobody may write, even as root."""
    root = os.geteuid() == 0
    folder.chmod(mode)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights are another matter there")
def test_a_read_only_folder_can_be_read_and_refuses_writing() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Ledger(folder / "ledger.db") as ledger:
            ledger.record(SEVEN)
        (folder / "ledger.db").chmod(0o444)
        with as_nobody(folder):
            with Ledger(folder / "ledger.db", read_only=True) as ledger:
                assert ledger.verify().entries == 7
            with pytest.raises(OutputError, match=r"new\.db"):
                Ledger(folder / "new.db")
            with pytest.raises(OutputError, match=r"ledger\.db"):
                Ledger(folder / "ledger.db")
        assert [item.name for item in folder.iterdir()] == ["ledger.db"]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights are another matter there")
def test_an_unfinished_log_in_a_read_only_folder_is_not_ignored() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with Ledger(folder / "ledger.db") as ledger:
            ledger.record(SEVEN)
            copy = folder / "copy"
            copy.mkdir()
            for item in ("ledger.db", "ledger.db-wal"):
                (copy / item).write_bytes((folder / item).read_bytes())
        with as_nobody(copy, 0), pytest.raises(OutputError, match=r"can't look at .*ledger\.db.*rights"):
            Ledger(copy / "ledger.db", read_only=True)
        with as_nobody(copy), pytest.raises(OutputError, match=r"can't open the ledger"):
            Ledger(copy / "ledger.db", read_only=True)


# ---------------------------------------------------------------- a full disk
def test_a_full_disk_leaves_nothing_half_written(path: Path) -> None:
    with Ledger(path) as ledger:
        head = ledger.head()
        database = ledger._database
        assert database is not None
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(OutputError, match=r"full; nothing of this call was written; free some space"):
            ledger.record(decision(number, reason="x" * 500) for number in range(10, 200))
        assert ledger.head() == head
        assert ledger.verify().entries == 7
        database.execute("PRAGMA max_page_count = 100000")
        assert ledger.record(decision(number) for number in range(10, 200)) == 190


FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_ledger import SEVEN, decision
from aicsched.account.ledger import Ledger
from aicsched.errors import OutputError
with Ledger(sys.argv[1]) as ledger:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        ledger.record(decision(number, reason="x" * 500) for number in range(10, 400))
    except OutputError as error:
        print("refused:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    print(ledger.verify().entries)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_write_that_the_system_cuts_short_leaves_nothing(path: Path) -> None:
    command = [sys.executable, "-c", FULL, str(path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "refused: can't write the ledger" in done.stdout
    assert done.stdout.split()[-1] == "7"
    with Ledger(path) as ledger:
        assert ledger.verify().entries == 7
        assert ledger.record([decision(10)]) == 1


# ---------------------------------------------------------------- several writers
def test_another_writer_that_never_ends_is_an_error_that_says_so(path: Path) -> None:
    with Ledger(path) as one, Ledger(path, busy_s=0.05) as two:
        assert one._database is not None
        one._database.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process holds"):
            two.record([decision(9)])
        one._database.execute("ROLLBACK")
        assert two.record([decision(9)]) == 1


WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from test_ledger import decision
from aicsched.account.ledger import Ledger
own = int(sys.argv[3])
with Ledger(sys.argv[1]) as ledger:
    for start in range(0, 60, 3):
        ledger.record(decision(1000 * own + number) for number in range(start, start + 3))
        ledger.record(decision(number) for number in range(start, start + 3))
"""


def test_two_processes_write_one_new_ledger(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    writers = [subprocess.Popen([*command, str(own)], stderr=subprocess.PIPE, text=True) for own in (1, 2, 3)]
    for writer in writers:
        _, fault = writer.communicate(timeout=60)
        assert writer.returncode == 0, fault
    with Ledger(path) as ledger:
        # 60 of each one's own, and the 60 that all of them wrote once.
        assert ledger.verify().entries == 240
        assert len({item.decision_id for item in ledger.entries()}) == 240


def test_wal_is_turned_on_however_long_the_lock_is_held(path: Path) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = DELETE")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(AicschedError, match="another process holds"):
        Ledger(path, busy_s=0.05)
    database.execute("COMMIT")
    database.close()
    with Ledger(path) as ledger:
        assert ledger._database is not None
        assert ledger._database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_ledger_used_from_another_thread_is_our_error(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with Ledger(path) as ledger, ThreadPoolExecutor(1) as pool, pytest.raises(LedgerError, match="thread"):
        pool.submit(ledger.head).result()


def test_a_changed_decision_is_a_new_entry(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.record([replace(SEVEN[0], decision_id="id-0-corrected", kind="correct")]) == 1
        assert ledger.verify().entries == 8


class Stubborn:
    """A connection that SQLite answers with a fault some times before it gives in."""

    def __init__(self, times: int, code: int) -> None:
        self.times, self.code, self.tries = times, code, 0

    def execute(self, _statement: str) -> Any:
        self.tries += 1
        if self.tries <= self.times:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error
        return self

    def fetchone(self) -> tuple[str]:
        return ("wal",)


def test_turning_wal_on_together_is_tried_again_and_other_faults_are_not() -> None:
    soon = Stubborn(1, sqlite3.SQLITE_BUSY)
    use_wal(soon, 1.0)
    assert soon.tries == 2
    with pytest.raises(sqlite3.OperationalError):
        use_wal(Stubborn(9, sqlite3.SQLITE_BUSY), 0.03)
    broken = Stubborn(9, sqlite3.SQLITE_IOERR)
    with pytest.raises(sqlite3.OperationalError):
        use_wal(broken, 1.0)
    assert broken.tries == 1
