"""Simulated annealing over reassignments, in counted steps with a small generator of its own.

The board is a tuple of tables, whose places and columns the constants below
name. All costs are whole numbers. A shift or a swap is priced on the two
machines that it touches; where that is acceptable it is tried on the counts of
the services, and taken back where it isn't. Conflicts never arise. The other
limits may be broken for a while: use above a capacity costs a fine a unit, each
missing location and dependency a penalty. That opens ways between assignments
that keep all limits, and only those count as the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aicsched.jit import Kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = NDArray[Any]
    Board = tuple[Any, ...]

__all__ = ["ANNEAL"]

# Tables of the board.
NEED: Final = 0  # processes × resources
TRAVEL: Final = 1  # machine move costs, weighted
RULES: Final = 2  # load weights, transient resources, fines for a unit above capacity, then a balance a row
BOOK: Final = (
    3  # machines × (use, use left behind, capacity, safety capacity, a block of resources each; ends)
)
PEOPLE: Final = 4  # processes × the columns below
OPEN: Final = 5  # machines that could ever take a process, one range each
ON: Final = 6  # services × machines: processes there
NEAR: Final = 7  # services × neighbourhoods
REACH: Final = 8  # services × locations
TEAMS: Final = 9  # services × the columns below
NEEDS: Final = 10  # services that one depends on, one range each
FEEDS: Final = 11  # services that depend on it
LEVELS: Final = 12  # how many services have k moved processes
CROWD: Final = 13  # machines × (how many processes, and which)
TALLY: Final = 14
MATES: Final = 15  # processes by service, one range each

# After the four blocks of a machine's row.
COST: Final = 0
FINE: Final = 1  # of the cost, what is for use above the capacity
NEIGHBOURHOOD: Final = 2
LOCATION: Final = 3
ENDS: Final = 4

# Columns of processes.
AT: Final = 0
HOME: Final = 1
SERVICE: Final = 2
FARE: Final = 3  # process move cost, weighted
SEAT: Final = 4  # where it stands in its machine's crowd
OPEN_FIRST: Final = 5
OPEN_LAST: Final = 6  # below the first: every machine is open

# Columns of services.
SPREAD: Final = 0
REACHED: Final = 1
MOVED: Final = 2
NEEDS_FIRST: Final = 3
FEEDS_FIRST: Final = 4
MATES_FIRST: Final = 5

# The tally.
TOTAL: Final = 0
MOST_MOVED: Final = 1
BEST: Final = 2
LOGGED: Final = 3  # moves since the best; -1 where best holds an assignment of its own
BROKEN: Final = 4  # by how much spread and dependencies are broken
PENALTY: Final = 5
SERVICE_WEIGHT: Final = 6
ACCEPTED: Final = 7
FINES: Final = 8

# L'Ecuyer's two generators (doi:10.1145/62959.62969): no product leaves 64 bits.
_SPAN: Final = 2147483562


def draw(seeds: Table, below: int) -> int:
    """Draw a whole number from 0 to below a limit (of at most 2^31)."""
    seeds[0] = seeds[0] * 40014 % 2147483563
    seeds[1] = seeds[1] * 40692 % 2147483399
    z = (seeds[0] - seeds[1]) % _SPAN
    return z * below // _SPAN


def side(  # noqa: C901, PLR0913, PLR0917 - one loop; numba passes arrays faster than tuples of them
    need: Table, rules: Table, book: Table, people: Table, machine: int, leaves: int, enters: int, most: int
) -> tuple[int, int]:
    """Price a machine once one process has left and another has come (-1 for none).

    Returns the cost with the fine for use above the capacity, and that fine; -1 where it is above a limit.
    """
    resources = need.shape[1]
    leaves_home = leaves >= 0 and people[leaves, HOME] == machine
    enters_home = enters >= 0 and people[enters, HOME] == machine
    cost = 0
    fine = 0
    for r in range(resources):
        now = book[machine, r]
        held = book[machine, resources + r]
        if leaves >= 0:
            now -= need[leaves, r]
            if leaves_home and rules[1, r] != 0:
                held += need[leaves, r]
        if enters >= 0:
            now += need[enters, r]
            if enters_home and rules[1, r] != 0:
                held -= need[enters, r]
        over = now - book[machine, 3 * resources + r]
        if over > 0:
            cost += over * rules[0, r]
        over = now + held - book[machine, 2 * resources + r]
        if over > 0:
            fine += over * rules[2, r]
        if cost + fine > most:
            return -1, 0
    for b in range(3, rules.shape[0]):
        first = rules[b, 0]
        second = rules[b, 1]
        free_first = book[machine, 2 * resources + first] - book[machine, first]
        free_second = book[machine, 2 * resources + second] - book[machine, second]
        if leaves >= 0:
            free_first += need[leaves, first]
            free_second += need[leaves, second]
        if enters >= 0:
            free_first -= need[enters, first]
            free_second -= need[enters, second]
        lacking = rules[b, 2] * free_first - free_second
        if lacking > 0:
            cost += lacking * rules[b, 3]
    return cost + fine, fine


def fare(people: Table, travel: Table, process: int, machine: int) -> int:
    """Price the move of a process from its home, without its service's share."""
    home = people[process, HOME]
    if home == machine:
        return 0
    return people[process, FARE] + travel[home, machine]


def step_level(board: Board, service: int, change: int) -> None:
    """Count one more or one less moved process of a service."""
    teams = board[TEAMS]
    levels = board[LEVELS]
    tally = board[TALLY]
    levels[teams[service, MOVED]] -= 1
    teams[service, MOVED] += change
    levels[teams[service, MOVED]] += 1
    tally[MOST_MOVED] = max(tally[MOST_MOVED], teams[service, MOVED])
    while tally[MOST_MOVED] > 0 and levels[tally[MOST_MOVED]] == 0:
        tally[MOST_MOVED] -= 1


def presence(board: Board, service: int, near: int) -> int:
    """Say by how much a service's presence in a neighbourhood breaks dependencies, or mends them."""
    teams = board[TEAMS]
    count = board[NEAR]
    broken = 0
    for k in range(teams[service, NEEDS_FIRST], teams[service + 1, NEEDS_FIRST]):
        if count[board[NEEDS][k], near] == 0:
            broken += 1
    for k in range(teams[service, FEEDS_FIRST], teams[service + 1, FEEDS_FIRST]):
        if count[board[FEEDS][k], near] > 0:
            broken -= 1
    return broken


def count_move(board: Board, process: int, source: int, target: int) -> None:
    """Take a process from one machine to another in all counts of its service."""
    book = board[BOOK]
    teams = board[TEAMS]
    near = board[NEAR]
    reach = board[REACH]
    ends = 4 * board[NEED].shape[1]
    service = board[PEOPLE][process, SERVICE]
    board[ON][service, source] -= 1
    board[ON][service, target] += 1
    here = book[source, ends + NEIGHBOURHOOD]
    there = book[target, ends + NEIGHBOURHOOD]
    broken = -max(teams[service, SPREAD] - teams[service, REACHED], 0)
    if here != there:
        near[service, here] -= 1
        if near[service, here] == 0:
            broken -= presence(board, service, here)
        if near[service, there] == 0:
            broken += presence(board, service, there)
        near[service, there] += 1
    here = book[source, ends + LOCATION]
    there = book[target, ends + LOCATION]
    if here != there:
        reach[service, here] -= 1
        if reach[service, here] == 0:
            teams[service, REACHED] -= 1
        if reach[service, there] == 0:
            teams[service, REACHED] += 1
        reach[service, there] += 1
    broken += max(teams[service, SPREAD] - teams[service, REACHED], 0)
    board[TALLY][BROKEN] += broken
    if source == board[PEOPLE][process, HOME]:
        step_level(board, service, 1)
    elif target == board[PEOPLE][process, HOME]:
        step_level(board, service, -1)


def settle(board: Board, process: int, source: int, target: int) -> None:
    """Carry a process's use over to its new machine, and its seat."""
    need = board[NEED]
    rules = board[RULES]
    book = board[BOOK]
    people = board[PEOPLE]
    crowd = board[CROWD]
    resources = need.shape[1]
    home = people[process, HOME]
    for r in range(resources):
        book[source, r] -= need[process, r]
        book[target, r] += need[process, r]
        if rules[1, r] != 0:
            if source == home:
                book[home, resources + r] += need[process, r]
            elif target == home:
                book[home, resources + r] -= need[process, r]
    last = crowd[source, crowd[source, 0]]
    crowd[source, people[process, SEAT]] = last
    people[last, SEAT] = people[process, SEAT]
    crowd[source, 0] -= 1
    crowd[target, 0] += 1
    crowd[target, crowd[target, 0]] = process
    people[process, SEAT] = crowd[target, 0]
    people[process, AT] = target


def commit(board: Board, process: int, other: int, target: int, change: int, limit: int) -> bool:
    """Move a process, and another one back in exchange (or none, -1), if all in all that is acceptable.

    ``change`` is the change of all costs but the service move cost.
    """
    tally = board[TALLY]
    source = board[PEOPLE][process, AT]
    top = tally[MOST_MOVED]
    broken = tally[BROKEN]
    count_move(board, process, source, target)
    if other >= 0:
        count_move(board, other, target, source)
    change += tally[SERVICE_WEIGHT] * (tally[MOST_MOVED] - top)
    if change + tally[PENALTY] * (tally[BROKEN] - broken) > limit:
        if other >= 0:
            count_move(board, other, source, target)
        count_move(board, process, target, source)
        return False
    settle(board, process, source, target)
    if other >= 0:
        settle(board, other, target, source)
    tally[TOTAL] += change
    tally[ACCEPTED] += 1
    return True


def note(tally: Table, log: Table, process: int, source: int) -> None:
    """Log a move since the best assignment."""
    if tally[LOGGED] >= 0:
        log[tally[LOGGED], 0] = process
        log[tally[LOGGED], 1] = source
        tally[LOGGED] += 1


def keep(board: Board, log: Table, best: Table) -> None:
    """Write the best assignment down: the present one with the logged moves taken back."""
    tally = board[TALLY]
    people = board[PEOPLE]
    if tally[LOGGED] >= 0:
        for p in range(people.shape[0]):
            best[p] = people[p, AT]
        for k in range(tally[LOGGED] - 1, -1, -1):
            best[log[k, 0]] = log[k, 1]
        tally[LOGGED] = -1


def partner(board: Board, seeds: Table, process: int, swaps: int, mates: int) -> tuple[int, int]:
    """Draw a machine for a process, and whom to swap it with there, or -1."""
    people = board[PEOPLE]
    kind = draw(seeds, 1000)
    if kind < mates:
        # One of its own service: that changes where no service is, so loads alone decide.
        service = people[process, SERVICE]
        begin = board[TEAMS][service, MATES_FIRST]
        other = board[MATES][begin + draw(seeds, board[TEAMS][service + 1, MATES_FIRST] - begin)]
        return people[other, AT], other
    first = people[process, OPEN_FIRST]
    count = people[process, OPEN_LAST] - first
    if count < 0:
        target = draw(seeds, board[BOOK].shape[0])
    elif count == 0:
        return people[process, AT], -1
    else:
        target = board[OPEN][first + draw(seeds, count)]
    crowd = board[CROWD]
    if kind >= swaps or crowd[target, 0] == 0:
        # A shift, where there is a seat.
        return (target, -1) if crowd[target, 0] < crowd.shape[1] - 1 else (people[process, AT], -1)
    return target, crowd[target, 1 + draw(seeds, crowd[target, 0])]


def anneal(  # noqa: C901 - most steps end within the first few lines, and a call would cost more than they
    board: Board, best: Table, log: Table, seeds: Table, limits: Table, plan: Table
) -> None:
    """Try moves at one temperature, and keep the best assignment.

    ``limits`` are what a cost may rise by, one of which is drawn each time: quantiles of the
    exponential distribution. ``plan`` is how many steps, how many in a thousand are swaps, and how many
    of those are among processes of one service.
    """
    need, travel, rules, book, people = board[NEED], board[TRAVEL], board[RULES], board[BOOK], board[PEOPLE]
    on, tally = board[ON], board[TALLY]
    price = 4 * need.shape[1] + COST
    swaps = plan[1]
    mates = plan[2]
    weight = tally[SERVICE_WEIGHT]
    for _step in range(plan[0]):
        process = draw(seeds, people.shape[0])
        target, other = partner(board, seeds, process, swaps, mates)
        source = people[process, AT]
        if target == source:
            continue
        service = people[process, SERVICE]
        if (other < 0 or people[other, SERVICE] != service) and (
            on[service, target] > 0 or (other >= 0 and on[people[other, SERVICE], source] > 0)
        ):
            continue
        limit = limits[draw(seeds, limits.shape[0])]
        change = fare(people, travel, process, target) - fare(people, travel, process, source)
        if other >= 0:
            change += fare(people, travel, other, source) - fare(people, travel, other, target)
        change -= book[source, price] + book[target, price]
        # What may still come off: less moves of the service that moves most, and mended limits.
        most = limit - change + weight + tally[PENALTY] * tally[BROKEN]
        there, fine_there = side(need, rules, book, people, target, other, process, most)
        if there < 0:
            continue
        here, fine_here = side(need, rules, book, people, source, process, other, most - there)
        if here < 0 or here + there > most:
            continue
        if tally[LOGGED] + 2 > log.shape[0]:
            keep(board, log, best)
        if not commit(board, process, other, target, change + here + there, limit):
            continue
        tally[FINES] += fine_here + fine_there - book[source, price + FINE] - book[target, price + FINE]
        book[source, price] = here
        book[target, price] = there
        book[source, price + FINE] = fine_here
        book[target, price + FINE] = fine_there
        # What is left behind may be the best so far: remember how to come back.
        note(tally, log, process, source)
        if other >= 0:
            note(tally, log, other, target)
        if tally[TOTAL] < tally[BEST] and tally[BROKEN] == 0 and tally[FINES] == 0:
            tally[BEST] = tally[TOTAL]
            tally[LOGGED] = 0
    keep(board, log, best)


def _kind(element: str, axes: int, *, fixed: bool = False) -> str:
    return f'Array({element}, {axes}, "C"{", readonly=True" if fixed else ""})'


_BOARD: Final = ", ".join(
    [_kind("int64", 2, fixed=True)] * 3
    + [_kind("int64", 2)] * 2
    + [_kind("int32", 1, fixed=True)]
    + [_kind("int16", 2)] * 3
    + [_kind("int64", 2)]
    + [_kind("int32", 1, fixed=True)] * 2
    + [_kind("int64", 1), _kind("int32", 2), _kind("int64", 1)]
    + [_kind("int32", 1, fixed=True)]
)


def _steps(*args: Any) -> float:
    # Each step of the plain loop takes as long as some thousands of numpy's, and chunks come by the hundred.
    return float(args[-1][0]) * 300_000.0


ANNEAL: Final = Kernel(
    anneal,
    anneal,
    signature=f"void(Tuple(({_BOARD})), int64[::1], int64[:, ::1], int64[::1], "
    f"{_kind('int64', 1, fixed=True)}, {_kind('int64', 1, fixed=True)})",
    helpers=(draw, side, fare, step_level, presence, count_move, settle, commit, note, keep, partner),
    work=_steps,
    # Both forms agree to the last bit, but the plain one is no way to wait for the other: it takes minutes.
    exact=False,
)
