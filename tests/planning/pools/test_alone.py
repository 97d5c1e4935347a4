"""A service that has a pool to itself has the plan that plan_entry gives it."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_planning import (
    ClassProfile,
    Codec,
    Confidence,
    Cut,
    EntryProblem,
    Exit,
    Infeasible,
    IntermediateNode,
    Load,
    Mode,
    Model,
    Plan,
    Privacy,
    Slo,
    Tables,
    Timing,
    plan_entry,
)
from edge_planning.pools import PoolDemand, PoolNode, PoolPlan, PoolProblem, PoolServer, plan_pool

MB = 1e6
CUTS = (Cut("image", 60_000), Cut("pool1", 20_000), Cut("pool2", 4_000))
EXITS = (Exit("early", "early_logits", 0.8, CUTS[:2]), Exit("full", "logits", 0.95, CUTS))
SECONDS = {
    ("image", "pool1"): 0.01,
    ("pool1", "pool2"): 0.01,
    ("pool2", "logits"): 0.03,
    ("pool1", "early_logits"): 0.005,
}
MODEL = Model("digits", EXITS, memory=dict.fromkeys(SECONDS, 10 * MB))
FP32 = Codec("fp32")
INT8 = Codec("int8", 0.25, {"early": 0.01, "full": 0.02})
SURE = Confidence(0.9, (0.6, 0.4), (0.96, 0.9))


def profile(name: str, factor: float) -> ClassProfile:
    timings = {pair: Timing(s * factor, s * factor * 1.2) for pair, s in SECONDS.items()}
    return ClassProfile(name, timings)


@st.composite
def entries(draw: st.DrawFn, slowest: float) -> EntryProblem:
    """One service with any constraint that plan_entry knows, and links of at least `slowest` bit/s."""
    near = IntermediateNode("edge-b", profile("box", 0.4), 50e6, 0.001)
    return EntryProblem(
        MODEL,
        profile("pi", 1.0),
        draw(st.sampled_from([profile("gpu", 0.1), None])),
        draw(st.sampled_from([0.001, 0.02])),
        Slo(draw(st.sampled_from([0.002, 0.02, 0.06, 0.15])), draw(st.sampled_from([50.0, 95.0]))),
        mode=draw(st.sampled_from(Mode)),
        min_accuracy=draw(st.sampled_from([None, 0.9])),
        node="edge-a",
        peer="cloud",
        bandwidth=draw(st.sampled_from([None, slowest, 90e6])),
        tables=Tables(routes=draw(st.sampled_from([2, 4]))),
        privacy=draw(st.sampled_from(Privacy)),
        codecs=draw(st.sampled_from([(FP32,), (FP32, INT8)])),
        intermediates=draw(st.sampled_from([(), (near,)])),
        confidences=draw(st.sampled_from([(), (SURE,)])),
    )


def planned(entry: EntryProblem, rate: float, *, assumed: bool) -> tuple[PoolPlan, str]:
    demand = PoolDemand("digits", "shop", "sha256:digits", (entry,), rate, assumed=assumed)
    nodes = (PoolNode("edge-a", "pi"), PoolNode("edge-b", "box"))
    return plan_pool(PoolProblem(nodes, (PoolServer("cloud", concurrency=2),), (demand,))), demand.name


def expect(plan: PoolPlan, name: str, alone: Plan | Infeasible) -> None:
    if isinstance(alone, Infeasible):
        assert plan.refused[name].infeasible == alone
    else:
        assert plan.placed[name].plan == alone
        assert not plan.contended


@settings(max_examples=150)
@given(entries(0.1e6))
def test_a_service_with_the_pool_to_itself_has_the_plan_of_its_entry(entry: EntryProblem) -> None:
    plan, name = planned(entry, 0.1, assumed=True)
    expect(plan, name, plan_entry(entry))


@settings(max_examples=100)
@given(entries(4e6), st.sampled_from([0.01, 0.5, 3.0]))
def test_a_declared_rate_adds_the_waits_of_the_services_own_requests(
    entry: EntryProblem, rate: float
) -> None:
    plan, name = planned(entry, rate, assumed=False)
    load = Load(rate=rate)
    alone = replace(
        entry,
        load=load,
        remote_load=replace(load, servers=2),
        intermediates=tuple(replace(one, load=load) for one in entry.intermediates),
    )
    expect(plan, name, plan_entry(alone))
