"""Loads the tails of a service's tables into Triton servers before a table uses them.

A tail that is there already is used only if its configuration shows that it has the slice's content. What
does not fit into the memory that the pool declares for a server is not loaded.
"""

import functools
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from edge_api import DevicePool
from edge_operator.addresses import server_of
from edge_operator.admission import Admission, admission, footprint, full
from edge_operator.cluster import PLACEMENTS
from edge_operator.errors import TailRefusedError
from edge_operator.residency import in_use, placed_sizes
from edge_operator.runs import Run, TailKey
from edge_operator.tail_models import Backend, Tail, is_content, is_ours, marked_size, may_be_ours


@dataclass(frozen=True, slots=True)
class Loaded:
    """How many tails were loaded, and those that did not fit, with the reason."""

    count: int = 0
    refused: frozenset[TailKey] = frozenset()
    message: str = ""


def load_missing(
    run: Run, pool: DevicePool, tails: Mapping[TailKey, Tail], replaceable: Collection[str] = ()
) -> Loaded:
    """Loads the tails that their Triton server lacks and that fit. Raises TritonError, StoreError.

    replaceable: servers that get no tail unless all fit.
    """
    count, refused, messages = 0, set[TailKey](), []
    for address in sorted({key.address for key in tails}):
        here = {key.name: tail for key, tail in sorted(tails.items()) if key.address == address}
        missing, unfit, message = _admit(run, pool, address, here)
        refused |= {TailKey(address, name) for name in unfit}
        messages += [message] if message else []
        for tail in () if unfit and address in replaceable else missing:
            run.clients.triton.load(tail, functools.partial(run.clients.store.blob, tail.digest))
            count += 1
    return Loaded(count, frozenset(refused), "; ".join(messages))


def release(run: Run, tails: Iterable[TailKey]) -> None:
    """Ends the admission of tails that published tables name."""
    for address, name in tails:
        run.clients.admitted.release(server_of(address), [name])


def _admit(
    run: Run, pool: DevicePool, address: str, tails: Mapping[str, Tail]
) -> tuple[list[Tail], tuple[str, ...], str]:
    """Returns the tails to load, the names of those that do not fit, and the reason.

    Unloads unused models whose room is needed.
    """
    clients, server = run.clients, server_of(address)
    with clients.admitted.turn(server):
        present = clients.triton.ready(address)
        missing = [tail for name, tail in tails.items() if name not in present or not _is_there(run, tail)]
        wanted = {name: footprint(tail.size, tail.backend) for name, tail in tails.items()}
        index, declared = next(
            (
                (index, each)
                for index, each in enumerate(pool.spec.triton_servers)
                if each.url == address and each.memory is not None
            ),
            (0, None),
        )
        unfit: tuple[str, ...] = ()
        message = ""
        if declared is not None and declared.memory is not None and missing:
            used = _used(run, address, present, declared.backend)
            unused = _unused(run, address, present - set(used), declared.backend)
            found = admission(declared.memory, wanted, used, unused)
            _make_room(run, address, found)
            if found.refused:
                unfit = found.refused
                field = f"DevicePool {pool.metadata.name}: spec.tritonServers[{index}].memory"
                message = full(field, declared.name, declared.memory, found, wanted, used)
        clients.admitted.hold(server, {name: size for name, size in wanted.items() if name not in unfit})
    return [tail for tail in missing if tail.name not in unfit], unfit, message


def _is_there(run: Run, tail: Tail) -> bool:
    """Whether the loaded model of this name is the tail. Raises TailRefusedError if it is not ours at all."""
    parameters = run.clients.triton.parameters(tail.address, tail.name)
    if not parameters and tail.name not in run.clients.triton.ready(tail.address):
        return False  # unloaded since it was listed
    if not is_ours(tail.name, parameters, tail.owner):
        raise TailRefusedError(
            f"{tail.name} at {tail.address} has the name of a tail, but not the mark of this installation: "
            "unload this model there"
        )
    return is_content(parameters, tail)


def _used(run: Run, address: str, present: frozenset[str], backend: Backend) -> dict[str, int]:
    """Returns the footprints of the tails that tables use, or that other services are about to use."""
    server = server_of(address)
    bodies = run.clients.cluster.find(PLACEMENTS, run.scope)
    known = {name: size for (at, name), size in placed_sizes(bodies).items() if at == server}
    found = run.clients.admitted.held(server)
    for key in in_use(bodies):
        if server_of(key.address) != server:
            continue
        if key.name not in known and key.name in present:
            known[key.name] = marked_size(run.clients.triton.parameters(address, key.name))
        if key.name in known:
            found[key.name] = footprint(known[key.name], backend)
    return found


def _unused(run: Run, address: str, names: frozenset[str], backend: Backend) -> dict[str, int]:
    """Returns the footprints of the installation's loaded models among `names`."""
    owner = run.settings.installation
    candidates = {name for name in names if may_be_ours(name, owner)}
    parameters = {name: run.clients.triton.parameters(address, name) for name in candidates}
    return {
        name: footprint(marked_size(marks), backend)
        for name, marks in parameters.items()
        if is_ours(name, marks, owner)
    }


def _make_room(run: Run, address: str, found: Admission) -> None:
    for name in found.unloaded:
        run.clients.triton.unload(address, name)
