"""Kills mutants: finds, for each row, a case that fails because the row answers ENOSYS."""

import concurrent.futures
import dataclasses
import re

ALONE = 6  # candidates that run by themselves; the rest run by program
CASE_LIMIT = 45  # seconds; the frame ends a case after 30
_ROW = re.compile(r"^ROW\(\d+, (\w+), ")
_ASSERTION = re.compile(r"^(\w+)\.c:\d+ ")
_ENDED = re.compile(r"^ended with wait status ")


@dataclasses.dataclass
class Verdict:
    row: str
    killed: bool
    reason: str


def implemented_rows(table):
    text = table.read_text()
    rows = [m.group(1) for m in map(_ROW.match, text.splitlines()) if m]
    written = len(re.findall(r"^[^/\n]*\bROW\(", text, re.MULTILINE))
    if not rows or len(rows) != written:
        raise SystemExit(f"{table}: {written} rows have a handler, {len(rows)} were understood")
    return rows


def read_start_up(path, table):
    """{row: case}: rows without which no case begins. Each line: ROW PROGRAM.CASE reason."""
    rows = {}
    for line in path.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        row, case, reason = line.split(None, 2)
        if row not in table or not reason:
            raise SystemExit(f"start_up_rows: {line}")
        rows[row] = case
    return rows


def _names(case, row):
    """Whether the case is called after the row."""
    words = re.split(r"[._]", case.full_name)
    return row in words or row in case.full_name


class Hunter:
    def __init__(self, guest, cases, start_up):
        self._guest = guest
        self._cases = cases
        self._by_name = {case.full_name: case for case in cases}
        self._start_up = start_up

    def hunt(self, rows, jobs):
        """Yields a Verdict for each row, in their order."""
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(self._hunt_one, rows)

    def candidates(self, row):
        """Cases that call the row: those named after it first, then the quickest."""
        found = [case for case in self._cases if row in case.calls]
        return sorted(found, key=lambda case: (not _names(case, row), case.seconds))

    def _hunt_one(self, row):
        if row in self._start_up:
            return self._hunt_start_up(row)
        candidates = self.candidates(row)
        if not candidates:
            return Verdict(row, False, "no case calls it")
        seen = []
        for program, names in _batches(candidates):
            results, _, end = self._guest.run(program, names, mutant=row,
                                              limit=CASE_LIMIT + 5 * len(names))
            for name in names:
                outcome = results.get(name, f"no result: {end}")
                if outcome is None:
                    continue
                if _by_the_case(program, outcome):
                    return Verdict(row, True, f"{program}.{name}: {outcome}")
                seen.append(f"{program}.{name}: {outcome}")
        if seen:
            return Verdict(row, False, "no case fails by itself; " + seen[0])
        tried = ", ".join(case.full_name for case in candidates[:8])
        return Verdict(row, False, f"survives {len(candidates)} cases: {tried}")

    def _hunt_start_up(self, row):
        case = self._by_name.get(self._start_up[row])
        if case is None:
            return Verdict(row, False, f"start_up_rows: no passing case {self._start_up[row]}")
        results, _, end = self._guest.run(case.program, [case.name], mutant=row, limit=CASE_LIMIT)
        outcome = results.get(case.name, f"start-up fails: {end}")
        if outcome is None:
            return Verdict(row, False, f"survives {case.full_name}")
        if end == "hang":
            return Verdict(row, False, f"{case.full_name} hangs")
        if _by_the_case(case.program, outcome):
            return Verdict(row, False, f"{case.full_name} fails by itself: take the row from "
                           f"start_up_rows ({outcome})")
        return Verdict(row, True, f"{case.full_name}: {outcome}")


def _batches(candidates):
    """(program, names): the first ones alone, then all others of a program at once."""
    for case in candidates[:ALONE]:
        yield case.program, [case.name]
    others = {}
    for case in candidates[ALONE:]:
        others.setdefault(case.program, []).append(case.name)
    yield from others.items()


def _by_the_case(program, outcome):
    """A check of the case failed, or its process died or ran into its time limit of 30 s."""
    match = _ASSERTION.match(outcome)
    return (match is not None and match.group(1) == program) or _ENDED.match(outcome) is not None
