"""Hops to the next stage: a remote slice, called by the binary form of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from edge_planning.routing.deadlines import too_busy
from edge_runtime.assignment import Stage, returned
from edge_runtime.connections import Connection, HttpClient
from edge_runtime.errors import BadRequest, ConnectionFailed, HopFailed, HopLate, LinkBusy
from edge_runtime.links.monitors import LinkMonitor
from edge_runtime.links.sockets import Transfer
from edge_runtime.protocol.requests import HEADER_LENGTH, encode_request
from edge_runtime.protocol.responses import decode_response
from edge_runtime.tensors import Array, rows
from edge_runtime.tracing.contexts import Trace, current


class Hop:
    """One remote stage over a client that all hops to its address share.

    link: the measured link that it crosses, None for one between edge nodes. beyond: the stages that the next
    one calls in turn; the response is the last one's, with what those before it keep.
    """

    def __init__(
        self, stage: Stage, client: HttpClient, link: LinkMonitor | None, beyond: Sequence[Stage] = ()
    ) -> None:
        self._stage, self._client, self._link = stage, client, link
        self._inputs, self._outputs = stage.slice.inputs, returned([stage, *beyond])
        self._beyond = [behind.address or "" for behind in beyond]
        self._names = [t.name for t in self._outputs]
        self._path = f"/v2/models/{stage.model}/infer"

    @property
    def address(self) -> str:
        """The addresses of all its stages: hops to one address fail together."""
        return " > ".join([self._client.url, *self._beyond])

    @property
    def url(self) -> str:
        """URL of the next stage."""
        return self._client.url

    @property
    def peer(self) -> str:
        """Peer of the measured link that it crosses itself; empty if it crosses none."""
        return self._link.spec.peer if self._link is not None else ""

    @property
    def reachable(self) -> bool:
        """Whether that link is up; True without one."""
        return self._link is None or self._link.view().up

    async def healthy(self, within: float) -> bool:
        """Whether the next stage reports readiness within `within` seconds."""
        try:
            response = await self._client.request(
                "GET", f"/v2/models/{self._stage.model}/ready", within=within
            )
        except (TimeoutError, ConnectionFailed):
            return False
        return response.status == 200

    async def infer(self, arrays: Sequence[Array], within: float, *, only: bool = False) -> list[Array]:
        """Returns the outputs for validated `arrays` within `within` seconds.

        only: no other route can respond in time, so a link that seems too slow is tried if no other request
        uses it. Raises LinkBusy before anything is sent, HopLate and HopFailed afterwards; the connection is
        then closed, so that data that is stuck in it does not delay the next request.
        """
        with current.get().hop(self._client.url, self._stage.place, self._stage.model or "") as trace:
            return await self._infer(arrays, within, only=only, trace=trace)

    async def _infer(
        self, arrays: Sequence[Array], within: float, *, only: bool, trace: Trace
    ) -> list[Array]:
        if self._stage.runtime == "Triton":
            arrays = [array if array.ndim else array.reshape(1) for array in arrays]  # it has no scalars
        size = sum(array.nbytes for array in arrays)
        wait = self._link.wait_for(size) if self._link is not None else None
        idle = self._link is not None and self._link.idle
        if too_busy(within, wait, self._stage.compute, only=only, idle=idle):
            raise LinkBusy(
                f"{self._stage.place}: {size} bytes behind those on the link would take {wait or 0:.3f} s, "
                f"but only {within:.3f} s are left"
            )
        # The next stage's timeout starts when the whole request has arrived.
        body = encode_request(self._inputs, arrays, self._names, within - min(wait or 0.0, within / 2))
        headers = (
            f"{HEADER_LENGTH}: {len(body[0])}\r\nContent-Type: application/octet-stream\r\n{trace.lines}"
        )
        size = sum(len(part) for part in body)
        transfer: Transfer | None = None

        def begin(connection: Connection) -> None:
            nonlocal transfer
            if self._link is not None and connection.socket is not None:
                self._link.forget(transfer)  # it was sent on a connection that turned out to be closed
                transfer = self._link.begin(connection.socket, size)

        try:
            response = await self._client.request(
                "POST", self._path, body, headers, within=within, on_start=begin
            )
        except TimeoutError as error:
            if self._link is not None:
                self._link.gave_up(transfer)
            raise HopLate(
                f"{self._stage.place}: no response from {self._client.url} within {within * 1e3:.0f} ms"
            ) from error
        except ConnectionFailed as error:
            if self._link is not None:
                self._link.broke(transfer)
            raise HopFailed(f"{self._stage.place}: {error}") from error
        except BaseException:
            if self._link is not None:
                self._link.forget(transfer)
            raise
        if self._link is not None and transfer is not None:
            self._link.finish(transfer, self._stage.compute, len(response.body))
        trace.status(response.status)
        if response.status == HTTPStatus.GATEWAY_TIMEOUT:
            raise HopLate(f"{self._stage.place}: {self._stage.model} reported that its deadline passed")
        if response.status != 200:
            said = response.body[:200].decode("utf-8", "replace")
            raise HopFailed(f"{self._stage.place}: {self._stage.model} returned {response.status} {said}")
        try:
            results = decode_response(response.body, response.headers.get(HEADER_LENGTH), self._outputs)
        except BadRequest as error:
            raise HopFailed(
                f"{self._stage.place}: {self._stage.model} returned an invalid response ({error})"
            ) from error
        self._check_rows(arrays, results)
        return results

    def _check_rows(self, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """Checks that batched outputs have the batch of the request; others are not checked."""
        batch = rows(self._inputs, arrays)
        if batch is None:
            return
        for tensor, result in zip(self._outputs, results, strict=True):
            if tensor.has_batch and result.shape[0] != batch:
                raise HopFailed(
                    f"{self._stage.place}: {self._stage.model} returned {tensor.name} with "
                    f"{result.shape[0]} rows, but the request has {batch}"
                )
