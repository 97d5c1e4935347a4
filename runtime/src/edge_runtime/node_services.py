"""All services of a namespace at this node: added, changed and removed as their Placements are.

Each has its own route tables, its own status and its own tasks: one that cannot be loaded affects no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edge_api.names import placement_name
from edge_runtime.errors import CannotLoad
from edge_runtime.first_requests.turns import Measures
from edge_runtime.json_values import Json, metadata_of, spec_of
from edge_runtime.placed_services import PlacedService, Statuses
from edge_runtime.served_models import ServedModels

_log = logging.getLogger(__name__)

_RESTART: Final = 5.0
_FROM_DISK: Final = 30.0


class NodeServices:
    """The services of the Placements that name this node, except those with a runtime of their own.

    `placed` are those that are placed here now.
    """

    def __init__(
        self,
        node: str,
        folder: Path,
        make: Callable[[str, Path], PlacedService],
        stuck: Callable[[], str],
        statuses: Statuses | None = None,
        measurer: Measures | None = None,
    ) -> None:
        """folder: has one folder for each service. make: creates a service by its name and folder.

        measurer: for models that are measured on their first requests.
        """
        self._measurer = measurer
        self._node, self._folder, self._make, self._statuses = node, folder, make, statuses
        self.models = ServedModels(lambda: self.settled, stuck, lambda: self._first is not None)
        self._objects: dict[str, dict[str, Json]] = {}  # by service, then by name
        self._placed: dict[str, PlacedService] = {}
        self._tasks: dict[str, list[asyncio.Task[None]]] = {}
        self._first: frozenset[str] | None = None  # services on disk, or in the first list
        self._settled = False
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._refusing: dict[str, tuple[str, str]] = {}
        """The service and the message of Placements that refuse requests, by name."""

    @property
    def settled(self) -> bool:
        """Whether the Placements are known, and each service that was there first is loaded or has failed."""
        if not self._settled and self._first is not None:
            first = [self._placed[name] for name in self._first if name in self._placed]
            self._settled = all(placed.settled for placed in first)
        return self._settled

    @property
    def placed(self) -> Sequence[PlacedService]:
        """The services that are placed here now."""
        return list(self._placed.values())

    def find(self, name: str) -> PlacedService | None:
        """Returns a service that is placed here now."""
        return self._placed.get(name)

    async def restore(self) -> None:
        """Begins to load the last placements of every service on disk."""
        names = await asyncio.to_thread(_kept, self._folder)
        for name in names:
            self._add(name)
        if names and self._first is None:
            self._first = frozenset(names)

    async def restored(self) -> None:
        """Returns when the services on disk have been loaded, or after 30 s."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FROM_DISK):
                for placed in self.placed:
                    await placed.from_disk.wait()

    def replace(self, documents: Iterable[Json]) -> None:
        """Receives all Placements of the namespace at this node. A service without one is removed."""
        found: dict[str, dict[str, Json]] = {}
        self._refusing = {}
        for document in documents:
            if self._refuses(document):
                continue
            if (service := self._service_here(document)) is not None:
                found.setdefault(service, {})[metadata_of(document).get("name", "")] = document
        self._objects = found
        for name in self._placed.keys() - found.keys():
            self._remove(name)
        for name in found:
            self._receive(name)
        self._first = frozenset(found) if self._first is None else self._first

    def change(self, document: Json) -> None:
        """Receives a Placement that was created or changed."""
        if self._refuses(document):
            self._withdraw(metadata_of(document).get("name", ""))
            return
        service, name = self._service_here(document), metadata_of(document).get("name", "")
        if service is None:
            self.remove(document)
            return
        self._objects.setdefault(service, {})[name] = document
        self._receive(service)

    def remove(self, document: Json) -> None:
        """Receives the deletion of a Placement."""
        name = metadata_of(document).get("name", "")
        self._refusing.pop(name, None)
        self._told()
        self._withdraw(name)

    def _refuses(self, document: Json) -> bool:
        """Notes whether a Placement refuses requests to its service, and returns it."""
        name, message = metadata_of(document).get("name", ""), spec_of(document).get("refusal")
        service = self._service_here(document)
        self._refusing.pop(name, None)
        if service is not None and isinstance(message, str) and message:
            self._refusing[name] = service, message
        self._told()
        return name in self._refusing

    def _told(self) -> None:
        self.models.refusals = dict(self._refusing.values())

    def _withdraw(self, name: str) -> None:
        """Serves a service no longer by the Placement of this name."""
        for service, objects in list(self._objects.items()):
            if objects.pop(name, None) is None:
                continue
            if objects:
                self._receive(service)
            else:
                del self._objects[service]
                self._remove(service)

    async def close(self) -> None:
        """Ends all tasks. Requests in flight must have ended before."""
        tasks = [task for name in self._tasks for task in self._tasks[name]]
        tasks += self._leaving.values()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._statuses is not None:
            last = [placed.write_last_counters(self._statuses) for placed in self._placed.values()]
            await asyncio.gather(*last, return_exceptions=True)
        for placed in self._placed.values():
            placed.close()

    def _service_here(self, document: Json) -> str | None:
        """Name of a Placement's service if this runtime serves it."""
        spec = spec_of(document)
        if spec.get("node") != self._node:
            return None
        service = spec.get("service")
        return service if isinstance(service, str) and spec.get("isolation") != "Dedicated" else None

    def _receive(self, service: str) -> None:
        objects = self._objects[service]
        # While an operator renames a Placement there are two: the newer form of the name counts.
        named = objects.get(placement_name(service, self._node))
        placed = self._placed.get(service) or self._add(service)
        placed.receive(named if named is not None else next(iter(objects.values())))

    def _add(self, name: str) -> PlacedService:
        placed = self._placed[name] = self._make(name, self._folder / name)
        self.models.add(placed.service)
        self._tasks[name] = [
            asyncio.create_task(_supervised(placed, self._leaving.get(name))),
            asyncio.create_task(_watching(placed)),
        ]
        if self._statuses is not None:
            self._tasks[name].append(asyncio.create_task(_reporting(placed, self._statuses)))
        if self._measurer is not None:
            self._tasks[name].append(asyncio.create_task(_measuring(placed, self._measurer)))
        _log.info("service %s is placed here", name)
        return placed

    def _remove(self, name: str) -> None:
        placed = self._placed.pop(name)
        self.models.remove(name)
        leaving = asyncio.create_task(_leave(placed, self._tasks.pop(name), self._leaving.get(name)))
        self._leaving[name] = leaving
        leaving.add_done_callback(lambda _: self._left(name, leaving))
        _log.info("service %s is no longer placed here", name)

    def _left(self, name: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(name) is task:
            del self._leaving[name]


class LoneService:
    """The one service of a runtime of its own. It is served until the process ends."""

    def __init__(
        self, placed: PlacedService, statuses: Statuses | None = None, measurer: Measures | None = None
    ) -> None:
        self.placed: Sequence[PlacedService] = (placed,)
        self._measurer = measurer
        self.models = placed.service
        self._placed, self._statuses = placed, statuses
        self._tasks: list[asyncio.Task[None]] = []

    async def restore(self) -> None:
        """Begins to load its last placement from disk."""
        self._tasks = [
            asyncio.create_task(_supervised(self._placed)),
            asyncio.create_task(_watching(self._placed)),
        ]
        if self._statuses is not None:
            self._tasks.append(asyncio.create_task(_reporting(self._placed, self._statuses)))
        if self._measurer is not None:
            self._tasks.append(asyncio.create_task(_measuring(self._placed, self._measurer)))

    async def restored(self) -> None:
        """Returns when its last placement has been loaded."""
        await self._placed.from_disk.wait()

    def replace(self, documents: Iterable[Json]) -> None:
        """Receives its Placement: of two that an operator is renaming, the newer form of the name."""
        found = {metadata_of(document).get("name", ""): document for document in documents}
        if found:
            named = [name for name, document in found.items() if name == _name(document)]
            self._placed.receive(found[named[0] if named else next(iter(found))])

    def change(self, document: Json) -> None:
        """Receives its Placement after a change."""
        if metadata_of(document).get("name") == _name(document) or not self._placed.renamed(document):
            self._placed.receive(document)

    def remove(self, document: Json) -> None:
        """Ignores that its Placement was deleted: its operator ends the process."""

    async def close(self) -> None:
        """Ends all tasks. Requests in flight must have ended before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._statuses is not None:
            await self._placed.write_last_counters(self._statuses)
        self._placed.close()


def _name(document: Json) -> str:
    """The name that a Placement has by its service and node."""
    spec = spec_of(document)
    return placement_name(str(spec.get("service")), str(spec.get("node")))


async def _supervised(placed: PlacedService, former: asyncio.Task[None] | None = None) -> None:
    """Loads the service's placements. An unexpected error affects this service only. Runs until cancelled.

    former: removes a former service with the same name, and thus with the same folder.
    """
    await _over(former)
    await _reported(placed, placed.load_last)
    placed.from_disk.set()
    while True:
        await _reported(placed, placed.load_arriving)
        await asyncio.sleep(_RESTART)


async def _reported(placed: PlacedService, work: Callable[[], Any]) -> None:
    try:
        await work()
    except Exception as error:  # a bug here must not end the other services
        _log.exception("service %s", placed.name)
        placed.generations.refuse(placed.generations.generation, repr(error), CannotLoad.__name__)
        placed.settled = True


async def _reporting(placed: PlacedService, statuses: Statuses) -> None:
    """Writes the service's status, also after an unexpected error. Runs until cancelled."""
    while True:
        try:
            await placed.write_status(statuses)
        except Exception:  # such as a response that is not JSON
            _log.exception("the status of service %s", placed.name)
        await asyncio.sleep(_RESTART)


async def _watching(placed: PlacedService) -> None:
    """Lets go of the service's sessions without requests, also after an unexpected error. Runs until
    cancelled.
    """
    while True:
        try:
            await placed.watch_requests()
        except Exception:  # a bug here must not end the other services
            _log.exception("letting go of the sessions of service %s", placed.name)
        await asyncio.sleep(_RESTART)


async def _measuring(placed: PlacedService, measurer: Measures) -> None:
    """Measures the service's model on its first requests, also after an unexpected error. Runs until
    cancelled.
    """
    while True:
        try:
            await placed.measure(measurer)
        except Exception:  # a bug here must not end the other services
            _log.exception("measuring the model of service %s", placed.name)
        await asyncio.sleep(_RESTART)


async def _leave(
    placed: PlacedService, tasks: Sequence[asyncio.Task[None]], former: asyncio.Task[None] | None
) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    placed.close()
    await _over(former)
    await placed.forget()


async def _over(task: asyncio.Task[None] | None) -> None:
    """Returns when a task has ended. Being cancelled does not end it."""
    if task is not None:
        await asyncio.wait([task])


def _kept(folder: Path) -> list[str]:
    """Names of the services that keep a placement on disk."""
    with suppress(OSError):
        return sorted(path.parent.name for path in folder.glob("*/placement*.json"))
    return []
