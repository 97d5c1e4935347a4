"""Builds a planning problem from manifests and the model store's data. Pure."""

from collections.abc import Iterable, Mapping

from edge_api.devicepools import Prices
from edge_api.inferenceservices import InferenceServiceSpec
from edge_api.modelprofiles import (
    MOST_CODEC_ACCURACIES,
    AssumedSize,
    ClassCosts,
    CodecAccuracy,
    Cut,
    Estimate,
    ExitConfidence,
    ExitCost,
    ModelProfileSpec,
    PackingCost,
    ProfiledExit,
    ProfiledModel,
    RequestTime,
    SegmentCost,
)
from edge_api.objects import written
from edge_api.quantities import Duration, Share
from edge_operator import store_answers
from edge_operator.pool import shapes
from edge_operator.pool_nodes import PoolMember
from edge_operator.store_answers import DeviceProfile, ExitTime, ModelCard, SegmentTime
from edge_planning import problems
from edge_planning.costs import profiles
from edge_planning.costs.energy import RADIOS
from edge_planning.costs.packing import Packing
from edge_planning.errors import BadProfileError
from edge_planning.graphs import models
from edge_planning.links.bands import DEFAULT_ROUND_TRIP, differs
from edge_planning.objectives import objective_of

# Seconds of a request and of a hop outside of inference where the time of requests is not measured, and what
# is left of them where it is: measured between two containers on one machine.
LOCAL_OVERHEAD, HOP_OVERHEAD = 0.002, 0.003
LOCAL_DELAY, HOP_DELAY = 0.0003, 0.001
UNSTATED = 1.0
"""Accuracy that an only exit is planned with if it states none: relative to itself."""
_MEGABYTE = 1_000_000


def entry_problem(
    service: InferenceServiceSpec,
    model: models.Model,
    costs: Mapping[str, DeviceProfile],
    member: PoolMember,
    *,
    remote: str | None,
    peer: str,
    rtt: float,
    bandwidth: float | None,
    codecs: tuple[problems.Codec, ...] = (problems.FP32,),
    confidences: Iterable[store_answers.ExitConfidence] = (),
    prices: Prices = Prices(),
    stays: bool = False,
) -> problems.EntryProblem:
    """One service at one entry node; remote is the device class at the other end of the link, if any.

    stays: whether requests can be served only there, whatever the privacy of the service.
    """
    rate = service.planned_rate
    entry = class_profile(costs[member.device_class])
    measured = entry.requests is not None
    return problems.EntryProblem(
        model=model,
        entry=entry,
        remote=class_profile(costs[remote]) if remote is not None else None,
        rtt=rtt,
        slo=problems.Slo(float(service.slo.latency), service.slo.percentile),
        mode=problems.Mode(service.mode),
        privacy=problems.Privacy.LOCAL if stays else problems.Privacy(service.privacy),
        min_accuracy=service.slo.min_accuracy,
        node=member.node.name,
        peer=peer,
        bandwidth=bandwidth,
        local_overhead=LOCAL_DELAY if measured else LOCAL_OVERHEAD,
        hop_overhead=HOP_DELAY if measured else HOP_OVERHEAD,
        active_power=member.watts,
        radio=RADIOS[member.radio] if member.radio is not None else None,
        load=problems.Load(rate=rate),
        remote_load=problems.Load(rate=rate),
        codecs=codecs,
        confidences=planned_confidences(service, model, confidences),
        objective=objective_of(service.optimize),
        prices=problems.Prices(prices.triton_second, prices.uplink_gigabyte, prices.joule),
    )


def planned_confidences(
    service: InferenceServiceSpec, model: models.Model, measured: Iterable[store_answers.ExitConfidence]
) -> tuple[problems.Confidence, ...]:
    """Returns the effect of the service's confidence threshold; empty if it has none, or it is not measured.

    The lowest measured threshold that is not below the service's is used, so that plans never assume more
    early exits than happen. The result is also empty if inputs leave at an exit below the minimum accuracy:
    runtimes skip it, and the shares without it were not measured.
    """
    threshold = service.early_exit.leave_at
    if threshold is None:
        return ()
    found = min(
        (each for each in measured if each.threshold >= threshold),
        key=lambda each: each.threshold,
        default=None,
    )
    by_exit = {each.exit: each for each in found.exits} if found is not None else {}
    if any(exit_.name not in by_exit for exit_ in model.exits):
        return ()
    exits = [by_exit[exit_.name] for exit_ in model.exits]
    least = service.slo.min_accuracy or 0.0
    if any(exit_.accuracy < least and by_exit[exit_.name].share > 0 for exit_ in model.exits):
        return ()
    shares = tuple(each.share for each in exits)
    if abs(sum(shares) - 1) > 1e-6:
        return ()
    return (problems.Confidence(threshold, shares, tuple(each.accuracy for each in exits)),)


def planned_model(name: str, card: ModelCard) -> models.Model:
    """Returns the model's exits and cuts for planning."""
    exits = tuple(
        models.Exit(
            e.name,
            e.outputs,
            UNSTATED if e.accuracy is None else e.accuracy,
            tuple(models.Cut(c.names, c.bytes) for c in e.cuts),
            e.response_bytes,
        )
        for e in card.exits
    )
    return models.Model(name, exits, input_copies=frozenset(card.input_copies))


def class_profile(profile: DeviceProfile) -> profiles.ClassProfile:
    """Returns a profiled device class for planning."""
    return profiles.ClassProfile(
        name=profile.device_class,
        segments={(s.start, s.end): _timing(s) for s in profile.segments},
        exits={e.exit: _timing(e) for e in profile.exits},
        requests=_of_the_node(profile.requests) if profile.requests is not None else None,
        packing=_packing(profile.packing) if profile.packing is not None else None,
    )


def of_exits(profile: DeviceProfile, card: ModelCard) -> DeviceProfile:
    """Returns the measurements of a model's exits, under the exit names of its metadata.

    Services can name the exits of one file differently and share its measurements: an exit is identified by
    its outputs. Raises BadProfileError for an exit of the metadata that was not measured.
    """
    planned, found = class_profile(profile), []
    for exit_ in planned_model(card.digest, card).exits:
        planned.means(exit_)
        whole = next((e for e in profile.exits if exit_.end == (e.output or None)), None)
        whole = whole or next((e for e in profile.exits if not e.output and e.exit == exit_.name), None)
        if whole is None:
            raise BadProfileError(
                f"device class {profile.device_class}: the exit at {exit_.end} is not measured"
            )
        found.append(whole.model_copy(update={"exit": exit_.name, "output": exit_.end}))
    return profile.model_copy(update={"exits": tuple(found)})


def planned_rtt(planned: float | None, measured: float | None) -> float:
    """Returns the round trip (s) to plan with: the previous one, unless the measured one clearly differs.

    Every new value makes the runtimes load a new table, so noise must not change it.
    """
    before = DEFAULT_ROUND_TRIP if planned is None else planned
    return measured if measured is not None and differs(planned, measured) else before


def model_profile(
    service: str,
    card: ModelCard,
    costs: Iterable[DeviceProfile],
    accuracies: store_answers.CodecAccuracies | None = None,
) -> ModelProfileSpec:
    """Returns model metadata and measurements as the spec of a ModelProfile.

    accuracies: of codecs; left out until complete, and if there are too many for an object.
    """
    measured = accuracies.measured if accuracies is not None and accuracies.complete else ()
    found = accuracies.confidences if accuracies is not None and accuracies.complete else ()
    metric = accuracies.metric if accuracies is not None and accuracies.complete else None
    confidences = (
        tuple(ExitConfidence.model_validate(each.model_dump(by_alias=True)) for each in found) or None
    )
    exits = tuple(
        ProfiledExit(
            name=e.name,
            output=e.end if len(e.outputs) == 1 else None,
            outputs=e.outputs if len(e.outputs) > 1 else None,
            accuracy=e.accuracy,
            response_names=None if e.response_names == "Final" else e.response_names,
            cuts=tuple(_cut(c) for c in e.cuts),
            response_bytes=e.response_bytes or None,
            response_bytes_at=e.response_bytes_at or None,
        )
        for e in card.exits
    )
    return ModelProfileSpec(
        service=service,
        model=ProfiledModel(
            digest=card.digest,
            size=card.size or None,
            inputs=card.inputs,
            exits=exits,
            outputs=card.outputs,
            input_copies=card.input_copies or None,
            stays_local=card.local or None,
            warm_up=card.warm_up,
            shapes=shapes.measured_shapes(card.shapes),
        ),
        device_classes=tuple(
            shapes.with_shapes(_costs(each), each) for each in sorted(costs, key=lambda p: p.device_class)
        ),
        codecs=tuple(_codec_accuracy(each) for each in measured)
        if 0 < len(measured) <= MOST_CODEC_ACCURACIES
        else None,
        confidences=confidences,
        metric=metric,
    )


def codec_accuracies(spec: ModelProfileSpec) -> store_answers.CodecAccuracies | None:
    """Returns the accuracies of codecs and of confidences in a ModelProfile; None if it has none."""
    if spec.codecs is None and spec.confidences is None:
        return None
    measured = tuple(
        store_answers.CodecAccuracy(
            exit=c.exit, cut=(c.cut,), codec=c.codec, bytes=c.bytes, accuracy=c.accuracy
        )
        for c in spec.codecs or ()
    )
    found = (each.model_dump() for each in spec.confidences or ())
    confidences = tuple(store_answers.ExitConfidence.model_validate(each) for each in found)
    return store_answers.CodecAccuracies(
        complete=True, samples=0, metric=spec.metric, measured=measured, confidences=confidences
    )


def _codec_accuracy(found: store_answers.CodecAccuracy) -> CodecAccuracy:
    return CodecAccuracy(
        codec=found.codec, exit=found.exit, cut=found.cut_name, bytes=found.bytes, accuracy=found.accuracy
    )


def _cut(cut: store_answers.CardCut) -> Cut:
    return Cut(
        tensor=cut.tensor,
        tensors=cut.names if len(cut.names) > 1 else None,
        sent=cut.sent or None,
        bytes=cut.bytes,
        bytes_at=cut.bytes_at or None,
    )


def device_profiles(spec: ModelProfileSpec) -> dict[str, DeviceProfile]:
    """Returns the measurements in a ModelProfile by device class."""
    outputs = {e.name: "+".join(e.names) for e in spec.model.exits}
    return {costs.name: device_profile(spec.model.digest, costs, outputs) for costs in spec.device_classes}


def device_profile(model: str, costs: ClassCosts, outputs: Mapping[str, str]) -> DeviceProfile:
    """Returns the measurements on a device class. outputs: of each exit by name, joined by +."""
    found = DeviceProfile(
        model=model,
        selection=costs.selection or "",
        device_class=costs.name,
        node=costs.node,
        threads=costs.threads,
        execution_provider=costs.execution_provider,
        measured_on=costs.measured_on,
        estimated=store_answers.Estimate(**dict(costs.estimated)) if costs.estimated is not None else None,
        segments=tuple(_segment_time(segment) for segment in costs.segments),
        exits=tuple(
            ExitTime(
                exit=e.exit,
                output=outputs.get(e.exit, ""),
                mean_seconds=e.mean,
                p95_seconds=e.p95,
                runs=e.runs or 0,
            )
            for e in costs.exits
        ),
        relative_error=costs.relative_error or 0.0,
        assumed=tuple(store_answers.AssumedSize(**dict(a)) for a in costs.assumed or ()),
        packing=store_answers.PackingCost(**dict(costs.packing)) if costs.packing is not None else None,
        requests=_measured_requests(costs.requests) if costs.requests is not None else None,
    )
    return shapes.read_shapes(costs, found)


def as_written(spec: ModelProfileSpec) -> ModelProfileSpec:
    """Returns the spec with four significant digits, as later runs read it, so that plans agree."""
    return ModelProfileSpec.model_validate(written(spec))


def _segment_time(cost: SegmentCost) -> SegmentTime:
    times = {"mean_seconds": cost.mean, "p95_seconds": cost.p95, "runs": cost.runs}
    return SegmentTime.model_validate({"from": cost.start, "to": cost.end, **times})


def _segment_cost(time: SegmentTime) -> SegmentCost:
    costs = {
        "mean": Duration(time.mean_seconds),
        "p95": Duration(time.p95_seconds),
        "runs": max(1, time.runs),
    }
    return SegmentCost.model_validate({"from": time.start, "to": time.end, **costs})


def _costs(profile: DeviceProfile) -> ClassCosts:
    return ClassCosts(
        name=profile.device_class,
        selection=profile.selection or None,
        node=profile.node,
        threads=profile.threads,
        execution_provider=profile.execution_provider,
        measured_on=profile.measured_on,
        estimated=Estimate(**dict(profile.estimated)) if profile.estimated is not None else None,
        segments=tuple(_segment_cost(segment) for segment in profile.segments),
        exits=tuple(
            ExitCost(
                exit=e.exit, mean=Duration(e.mean_seconds), p95=Duration(e.p95_seconds), runs=max(1, e.runs)
            )
            for e in profile.exits
        ),
        relative_error=Share(min(1.0, round(profile.relative_error, 4))),
        assumed=tuple(AssumedSize.model_validate(dict(a)) for a in profile.assumed[:64]) or None,
        packing=PackingCost(**dict(profile.packing)) if profile.packing is not None else None,
        requests=_request_time(profile.requests) if profile.requests is not None else None,
    )


def _request_time(measured: store_answers.RequestTime) -> RequestTime:
    return RequestTime(
        processors=measured.processors,
        receive=Duration(measured.receive_seconds),
        receive_megabyte=Duration(measured.receive_seconds_per_byte * _MEGABYTE),
        hop=Duration(measured.hop_seconds),
        hop_megabyte=Duration(measured.hop_seconds_per_byte * _MEGABYTE),
        respond_megabyte=_of_a_megabyte(measured.respond_seconds_per_byte),
        reply_megabyte=_of_a_megabyte(measured.reply_seconds_per_byte),
    )


def _of_a_megabyte(seconds_per_byte: float | None) -> Duration | None:
    return None if seconds_per_byte is None else Duration(seconds_per_byte * _MEGABYTE)


def _of_a_byte(megabyte: Duration | None) -> float | None:
    return None if megabyte is None else megabyte / _MEGABYTE


def _measured_requests(written: RequestTime) -> store_answers.RequestTime:
    return store_answers.RequestTime(
        processors=written.processors,
        receive_seconds=written.receive,
        receive_seconds_per_byte=written.receive_megabyte / _MEGABYTE,
        hop_seconds=written.hop,
        hop_seconds_per_byte=written.hop_megabyte / _MEGABYTE,
        respond_seconds_per_byte=_of_a_byte(written.respond_megabyte),
        reply_seconds_per_byte=_of_a_byte(written.reply_megabyte),
    )


def _of_the_node(measured: store_answers.RequestTime) -> profiles.RequestTime:
    """Returns the seconds that a request takes of all processors of a node."""
    respond, reply = measured.respond_seconds_per_byte, measured.reply_seconds_per_byte
    times = (
        measured.receive_seconds,
        measured.receive_seconds_per_byte,
        measured.hop_seconds,
        measured.hop_seconds_per_byte,
        measured.receive_seconds_per_byte if respond is None else respond,
        measured.hop_seconds_per_byte if reply is None else reply,
    )
    return profiles.RequestTime(*(time / measured.processors for time in times))


def _packing(measured: store_answers.PackingCost) -> Packing:
    """Returns the measurement for planning; without packed weights nothing counts as faster."""
    return Packing(max(measured.slowdown, 1.0), measured.packed_memory, measured.unpacked_memory)


def _timing(measured: SegmentTime | ExitTime) -> profiles.Timing:
    return profiles.Timing(measured.mean_seconds, measured.p95_seconds)
