"""Plans all demands of a pool together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from edge_planning.choosing.exit_costs import UPLINK_SHARE
from edge_planning.pools.changes import Changes, changes
from edge_planning.pools.chosen import Chosen
from edge_planning.pools.claiming import Claiming
from edge_planning.pools.contention import Choice, Contention, accounts_of
from edge_planning.pools.costed import Costed, Costs
from edge_planning.pools.crowding import Crowding
from edge_planning.pools.figures import Figures
from edge_planning.pools.groups import Group, groups, steady
from edge_planning.pools.held import Held
from edge_planning.pools.ledgers import Ledger, capacities
from edge_planning.pools.measured_uses import taken_by_members, unreserved
from edge_planning.pools.pool_shares import pool_shares
from edge_planning.pools.questions import Questions
from edge_planning.pools.refusals import blocked, crowded, never, unfit
from edge_planning.pools.relief import Relief
from edge_planning.pools.renaming import placed_at, refused_at
from edge_planning.pools.repacking import pack
from edge_planning.pools.reservations import Resource
from edge_planning.pools.results import Placed, PoolPlan, Refusal
from edge_planning.pools.tables import Ranked, Tables, as_good_as, close, no_busier
from edge_planning.pools.units import Score, Unit, score
from edge_planning.pools.values import PoolDemand, PoolProblem

SETTLE = 0.002
"""Relative gain of accuracy for which a pool is planned as a whole again, if it has no fewer refusals."""
ROUNDS = 4
"""How often tables are planned again with the waits that the last ones cause."""

UNKNOWN = Changes(frozenset(), frozenset(), frozenset(), (), nothing=False)
"""Of a pool that was not planned before."""


def plan_pool(
    problem: PoolProblem, previous: PoolPlan | None = None, *, moves: int | None = None
) -> PoolPlan:
    """Returns a route table or a refusal for every demand, within the capacities of the pool.

    If every demand can have the table that plan_entry gives it, it gets that. Otherwise the demands share the
    pool (docs/pools.md): fewest refusals, the highest priority first, then accuracy, then fewest moves. The
    order in which demands, nodes, servers and tenants are listed does not matter.

    previous: The last plan of the pool. If nothing changed, it is returned. Otherwise only the demands that a
    change concerns are planned again, unless one of them would then be refused or another one late.
    moves: How many demands can change their tables for accuracy alone, with what is borrowed, if tenants
    share by entitlement and not all can have what they want; the next plans make the others. Default: all.

    Raises:
        BadObjectiveError: A demand's objective needs prices or power that are not declared.
    """
    given = steady(problem)
    if previous is None:
        return _Planner(given).plan()
    found = changes(previous.problem, given)
    if found.nothing and (not previous.waiting or moves == 0):
        return replace(previous, moved=(), spent=0)
    return _Planner(given, previous, found, moves).plan()


class _Planner:
    def __init__(
        self,
        problem: PoolProblem,
        previous: PoolPlan | None = None,
        found: Changes = UNKNOWN,
        moves: int | None = None,
    ) -> None:
        self.problem = problem
        self.previous = previous
        self.changes = found
        self.capacity = capacities(problem, UPLINK_SHARE)
        self.questions = Questions() if previous is None else previous.questions
        self.questions.again()
        uplinks = {one.name: one.uplink for one in problem.nodes}
        memory = {one.name: one.memory for one in problem.nodes}
        servers = {one.name: one.concurrency for one in problem.servers}
        figures = Figures()
        self.tables = Tables(self.questions, figures, uplinks, servers, problem.runtime_memory)
        self.costs = Costs(self.questions, figures, uplinks, memory, problem.runtime_memory)
        self.contention = Contention(problem, self.costs, self.capacity, moves)
        self.limits = self.contention.limits if problem.entitled else None
        """Of tenants with entitlements: beyond those of the joint choice, others would wait."""
        self.groups = groups(problem, self.questions, self._mark)
        self.units = [self._unit(one, group) for group in self.groups for one in group.demands]
        self.units.sort(key=lambda unit: (-unit.demand.priority, unit.name))
        self.ledger = Ledger(
            problem, self.capacity, accounts_of(problem, self.capacity, unreserved(self.units, self.tables))
        )
        self.crowding = Crowding(problem, self.ledger, self.capacity)
        self.chosen = Chosen(self.ledger)
        self.refusals: dict[str, Refusal] = {}
        self.tried: set[str] = set()
        """Demands that keep a table with which they are late, since nothing at their places has changed."""

    def plan(self) -> PoolPlan:
        if self.previous is None:
            self._all(self.units)
        elif not self._changed_only(self.previous):
            self._all_again()
        if self.limits is not None:
            take = partial(self._take_admitted, strict=True)
            claiming = Claiming(self.costs, self.units, self.chosen, self.limits, take)
            self._fill(claiming.claim(self._lacks))
        Relief(self.crowding, self.costs, self.tables, self.units, self.chosen).relieve(self.tried)
        pack(self.units, self.chosen, self.tables, self.limits)
        return self._result()

    def _all_again(self) -> None:
        """Plans everything again, and takes that only if it is better than what was kept.

        A plan by entitlement decides itself what stays.
        """
        before, refusals = self._score(self.units), dict(self.refusals)
        kept = self.chosen.drop_all(self.units)
        self.refusals.clear()
        self.tried.clear()
        self._all(self.units)
        if self.problem.entitled:
            return
        after = self._score(self.units)
        if after[0] > before[0] or (after[0] == before[0] and after[1] > before[1] * (1 + SETTLE)):
            self.chosen.drop_all(self.units)
            self.chosen.take_all(self.units, kept)
            self.refusals = refusals

    def _changed_only(self, previous: PoolPlan) -> bool:
        """Keeps what no change concerns and plans the rest beside it.

        Returns False if a demand that had a table is refused then, a new one does not fit, one that is kept
        is late, tenants changed, moves wait, or, by entitlement, a demand lacks something.
        """
        if self.changes.tenants or previous.waiting:
            return False
        touched = self._touched(previous)
        kept = []
        for unit in self.units:
            old = unit.old
            refusal = previous.refused.get(unit.name)
            if refusal is not None and unit.unchanged and not _binds_at(refusal, touched):
                self.refusals[unit.name] = refusal
            if old is None or not (unit.unchanged or unit.demand.name in self.changes.remeasured):
                continue
            concerned = previous.contended and unit.demand.node in touched
            concerned |= old.short is not None and _binds_at(old.short, touched)
            if concerned or not all(one in self.capacity for one in _resources(old)):
                continue
            table = self._kept(unit, old) if unit.unchanged else self._remeasured(unit, old)
            if table is not None:
                self.chosen.take(unit, table)
                kept.append(unit)
        for unit in kept:
            if not unit.unchanged and not self.ledger.in_time(unit.name):
                self.chosen.drop(unit)
        for resource in self.ledger.overfull():
            for unit in kept:
                if unit.name in self.chosen and resource in _resources(self.chosen[unit.name]):
                    self.chosen.drop(unit)
        self.tried = {
            unit.name
            for unit in kept
            if unit.name in self.chosen and unit.old is not None and unit.old.short and not unit.old.in_time
        }
        in_time = {unit.name for unit in kept if unit.name in self.chosen and self.ledger.in_time(unit.name)}
        free = [
            unit for unit in self.units if unit.name not in self.chosen and unit.name not in self.refusals
        ]
        if not self.problem.entitled:
            self._all(free)
        elif not (self._wanted(free) and self._satisfied(free)):
            return False
        if not all(self.ledger.in_time(name) for name in sorted(in_time)):
            return False
        refused = [unit for unit in free if unit.name not in self.chosen and self.tables.alone(unit.demand)]
        return all(unit.name in previous.refused or self._refused_at_home(unit, kept) for unit in refused)

    def _remeasured(self, unit: Unit, old: Placed) -> Ranked | None:
        """Returns the table of the previous plan, if it is as good at the bandwidth that is measured now."""
        best = max(self.tables.alone(unit.demand), key=lambda one: one.rank, default=None)
        if best is None or not old.in_time:
            return None
        table = self.tables.again(unit.demand, old.plan, old.server, old.reservation)
        return table if table.met and close(table, best) else None

    def _refused_at_home(self, unit: Unit, kept: Sequence[Unit]) -> bool:
        """Returns whether a demand lacks a resource of its entry node that no kept demand uses there."""
        placed = self._placed(unit)
        resource = placed.resource if isinstance(placed, Refusal) else None
        node = unit.demand.node
        return (
            resource is not None
            and resource.place == node
            and all(node != one.demand.node for one in kept if one.name in self.chosen)
        )

    def _all(self, free: Sequence[Unit]) -> None:
        """Plans demands beside those that are kept: as each wants, or else jointly."""
        wanted = self._wanted(free)
        if wanted and self._satisfied(free):
            return
        apart = self._score(free)
        fits = wanted and not self.problem.entitled and not self.ledger.overfull()
        first = self.chosen.drop_all(free)
        able = [unit for unit in free if self.tables.alone(unit.demand)]
        if not able:
            return
        lonely = {unit.name: self.tables.alone(unit.demand)[0].reserved for unit in able}
        choice, best = self.contention.choose(able, self.ledger, lonely)
        self._take_choice(able, choice, strict=self.problem.entitled)
        loose = self._score(able)
        if loose > best:  # what some gain from the room that is left makes others late
            tables = self.chosen.drop_all(able)
            self._take_choice(able, choice, strict=True)
            if self._score(able) > loose:
                self.chosen.drop_all(able)
                self.chosen.take_all(able, tables)
        if fits and apart <= self._score(free):
            self.chosen.drop_all(free)
            self.chosen.take_all(free, first)

    def _take_choice(self, able: Sequence[Unit], choice: Choice, *, strict: bool) -> None:
        """Takes tables for a joint choice, then for the demands that it refused.

        strict: Whether no table uses more of a place's time than its candidate.
        """
        for unit in able:
            if unit.name in choice:
                self.ledger.add(Held(unit.demand, choice[unit.name].reserved, unit.count))
        for unit in able:
            if unit.name in choice:
                self.ledger.remove(unit.name)
                self._take_admitted(unit, choice[unit.name], strict=strict)
        self._fill([unit for unit in able if unit.name not in self.chosen])

    def _score(self, free: Sequence[Unit]) -> Score:
        worth = {unit.name: self.chosen[unit.name].worth for unit in free if unit.name in self.chosen}
        return score(free, worth, self.ledger)

    def _wanted(self, free: Sequence[Unit]) -> bool:
        """Takes the best table for each demand, and plans again with the waits until no table changes.

        Returns False if a resource does not suffice.
        """
        for unit in free:
            best = self._best(unit, self.tables.alone(unit.demand))
            if best is not None:
                self.chosen.take(unit, best)
        for _ in range(ROUNDS):
            if self.ledger.overfull():
                return False
            changed = False
            for unit in free:
                held = self.chosen.get(unit.name)
                if held is None or not self._stale(unit, held):
                    continue
                best = self._best(unit, self.tables.beside(unit.demand, self.ledger, held.problem.peer))
                if best is None:
                    continue
                self.chosen.drop(unit)
                self.chosen.take(unit, best)
                changed |= (best.plan.table, best.server) != (held.plan.table, held.server)
            if not changed:
                break
        return not self.ledger.overfull()

    def _stale(self, unit: Unit, held: Ranked) -> bool:
        """Returns whether others' requests can change the demand's table."""
        if held.met and not self.ledger.in_time(unit.name):
            return True
        return self.tables.stale(unit.demand, held.problem, self.ledger)

    def _best(self, unit: Unit, tables: Sequence[Ranked]) -> Ranked | None:
        """Returns the best table: that of the previous plan unless another one is better by MOVE_COST.

        Of equally good ones, that at the server in use, then at the server of which the least is used.
        """
        if not tables:
            return None
        top = max(one.rank for one in tables)
        equal = [one for one in tables if one.rank == top]
        used = unit.demand.server
        best = min(
            equal,
            key=lambda one: (
                len(one.problem.unpacked),
                one.server != used,
                self.ledger.share(one.problem.peer),
                one.problem.peer,
            ),
        )
        if unit.unchanged and unit.old is not None:
            old = self._old(unit)
            if old is not None and close(old, best):
                return old
        return best

    def _old(self, unit: Unit) -> Ranked | None:
        """Returns the table of the previous plan, if it fits and is in time."""
        old = unit.old
        if old is None or not all(one in self.capacity for one in _resources(old)):
            return None
        kept = self._kept(unit, old)
        now = self.chosen.get(unit.name)
        if now is not None:
            self.chosen.drop(unit)
        held = Held(unit.demand, kept.reserved, unit.count)
        fits = self.ledger.fits(held)
        self.ledger.add(held)
        fits = fits and (self.ledger.in_time(unit.name) or not kept.met)
        self.ledger.remove(unit.name)
        if now is not None:
            self.chosen.take(unit, now)
        return kept if fits else None

    def _take_admitted(self, unit: Unit, choice: Costed, *, strict: bool) -> None:
        """Takes the best table that fits, with the chosen candidate's uses at most, or less memory."""
        tables = self.tables
        demand = unit.demand
        free = None if strict else self._best(unit, tables.beside(demand, self.ledger, choice.problem.peer))
        if (
            free is not None
            and self.ledger.fits(Held(demand, free.reserved, unit.count), self.contention.limits)
            and (free.met or not choice.worth)
        ):
            self.chosen.take(unit, free)
            return
        first = None
        for one in tables.admitted(demand, choice, self.ledger):
            if self.ledger.fits(Held(demand, one.reserved, unit.count), self.limits):
                if as_good_as(one, choice) and (not strict or no_busier(one, choice)):
                    self.chosen.take(unit, one)
                    return
                first = first or one
        if first is not None:
            self.chosen.take(unit, first)

    def _lacks(self, unit: Unit) -> bool:
        """Returns whether a demand has less than it would have alone, and not for a limit on moves."""
        waits = unit.name in self.contention.waiting
        return bool(self.tables.alone(unit.demand)) and not waits and self._short(unit) is not None

    def _fill(self, refused: Sequence[Unit]) -> None:
        """Takes a table for refused demands that fit into what is left."""
        for unit in refused:
            waits = self.contention.waits(self.ledger, unit.demand.problems[0].slo.percentile)
            for one in self.costs.costed(unit.demand, waits):
                if self.ledger.fits(Held(unit.demand, one.reserved, unit.count), self.limits):
                    self._take_admitted(unit, one, strict=True)
                    break

    def _satisfied(self, free: Iterable[Unit]) -> bool:
        """Returns whether every demand has what it would have alone."""
        return all(self._short(unit) is None for unit in free if self.tables.alone(unit.demand))

    def _short(self, unit: Unit) -> Ranked | None:
        """Returns the table that a demand would have alone, if that is better than what it has."""
        tables = self.tables.alone(unit.demand)
        if not tables:
            return None
        alone = max(tables, key=lambda one: one.rank)
        have = self.chosen.get(unit.name)
        if have is None:
            return alone
        met = have.met and self.ledger.in_time(unit.name)
        return alone if (alone.met, alone.worth) > (met, have.worth + 1e-9) else None

    def _kept(self, unit: Unit, old: Placed) -> Ranked:
        return self.tables.kept(unit.demand, old.plan, old.server, old.reservation, self.ledger)

    def _touched(self, previous: PoolPlan) -> set[str]:
        """Returns the places that a change concerns: with other capacities, or of other demands."""
        found = {*self.changes.places}
        changed = [one for one in self.problem.demands if one.name not in self.changes.same]
        for one in (*self.changes.gone, *changed):
            found.add(one.node)
            placed = previous.placed.get(one.name)
            if placed is not None:
                found |= {each.place for each in placed.reservation.uses}
        return found

    def _mark(self, demand: PoolDemand) -> object:
        """Returns what else must be equal for two entry nodes to be planned as one."""
        same = demand.name in self.changes.same, demand.name in self.changes.remeasured
        placed = self.previous.placed.get(demand.name) if self.previous is not None else None
        if placed is None:
            refusal = self.previous.refused.get(demand.name) if self.previous is not None else None
            resource = refusal.resource if refusal is not None else None
            place = None if resource is None or resource.place == demand.node else resource.place
            return same, None if resource is None else (resource.kind, place)
        short = placed.short is not None
        return same, placed.plan.table, placed.server, placed.in_time, short

    def _unit(self, demand: PoolDemand, group: Group) -> Unit:
        old = self.previous.placed.get(demand.name) if self.previous is not None else None
        return Unit(demand, len(group.nodes), old, demand.name in self.changes.same)

    def _result(self) -> PoolPlan:
        units = {unit.name: unit for unit in self.units}
        placed: dict[str, Placed] = {}
        refused: dict[str, Refusal] = {}
        contended = False
        for group in self.groups:
            for number, demand in enumerate(group.demands):
                unit = units[demand.name]
                one = self._placed(unit)
                contended |= one.short is not None if isinstance(one, Placed) else one.infeasible is None
                for members in group.members:
                    member = members[number]
                    if isinstance(one, Placed):
                        placed[member.name] = self._unchanged(unit, one, member) or placed_at(
                            one, demand, member
                        )
                    else:
                        refused[member.name] = refused_at(one, demand, member)
        old = {} if self.previous is None else self.previous.placed
        moved = tuple(
            name
            for name in sorted({*old} & {*placed})
            if (old[name].plan.table, old[name].server) != (placed[name].plan.table, placed[name].server)
        )
        taken = taken_by_members(self.crowding, self.groups) if self.ledger.accounts is not None else {}
        tenants = pool_shares(self.problem, self.ledger.accounts, placed, refused, taken)
        return PoolPlan(
            self.problem,
            placed,
            refused,
            self._used(),
            contended,
            moved,
            tenants,
            self.contention.spent,
            tuple(name for name, one in sorted(placed.items()) if one.short and one.short.waiting),
            self.questions,
        )

    def _unchanged(self, unit: Unit, placed: Placed, member: PoolDemand) -> Placed | None:
        """Returns what a member of the unit's group had, if the unit keeps what it had."""
        return self.previous.placed[member.name] if self.previous is not None and placed == unit.old else None

    def _placed(self, unit: Unit) -> Placed | Refusal:
        demand, count = unit.demand, unit.count
        one = self.chosen.get(unit.name)
        if one is None:
            if unit.name in self.refusals:
                return self.refusals[unit.name]
            if not self.tables.alone(demand):
                return never(demand, self.tables.infeasible(demand))
            waits = self.contention.waits(self.ledger, demand.problems[0].slo.percentile)
            return unfit(demand, count, self.costs.costed(demand, waits, every=True), self.ledger)
        in_time = one.met and self.crowding.in_time(unit.name)
        better, short = self._short(unit), None
        if better is not None and unit.name in self.contention.waiting:
            short = Refusal(f"{demand.name}: a more accurate table waits for other moves", waiting=True)
        elif better is not None:
            short = self._lacking(unit, Held(demand, better.reserved, count))
        elif one.met and not in_time and self.crowding.measured:
            short = crowded(Held(demand, one.reserved, count), self.crowding)
        return Placed(one.plan, one.server, one.reserved, in_time, short)

    def _lacking(self, unit: Unit, wanted: Held) -> Refusal:
        """Returns what a demand lacks for another table."""
        with self.ledger.without([unit.name]):
            found = blocked(unit.demand, unit.count, wanted, self.ledger)
            full = self.ledger.binding(wanted) is not None
        if full or not self.crowding.measured:
            return found
        held = self.ledger.remove(unit.name)
        self.ledger.add(wanted)
        found = crowded(wanted, self.crowding)
        self.ledger.remove(unit.name)
        self.ledger.add(held)
        return found

    def _used(self) -> dict[Resource, float]:
        """Returns the use of every resource at all entry nodes."""
        members = {group.nodes[0]: group.nodes for group in self.groups}
        return {
            Resource(resource.kind, node): amount
            for resource, amount in self.ledger.totals().items()
            for node in members.get(resource.place, (resource.place,))
        }


def _binds_at(refusal: Refusal, places: set[str]) -> bool:
    """Returns whether what binds is at one of the places."""
    return refusal.resource is not None and refusal.resource.place in places


def _resources(held: Placed | Ranked) -> set[Resource]:
    return (held.reservation if isinstance(held, Placed) else held.reserved).resources
