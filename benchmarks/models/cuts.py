"""A model cut in two at every place that the planner may use, and put together again."""

from collections.abc import Sequence

from benchmarks.models.inputs import Array, Feeds
from benchmarks.models.truth import difference
from edge_operator.store import ModelStore
from edge_operator.store_answers import CardCut, CardExit, ModelCard
from edge_runtime.inference.sessions import Session
from edge_runtime.tensors import Tensor


def wrong_cuts(
    store: ModelStore, card: ModelCard, feeds: Sequence[Feeds], truths: Sequence[dict[str, Array]]
) -> tuple[int, list[str]]:
    """Returns the number of cuts, and what is wrong at each that does not give onnxruntime's results."""
    count, wrong = 0, []
    for exit_ in card.exits:
        for cut in exit_.cuts:
            count += 1
            if said := _wrong(store, card, exit_, cut, feeds, truths):
                wrong.append(f"{exit_.name} at {cut.tensor}: {said}")
    return count, wrong


def _wrong(
    store: ModelStore,
    card: ModelCard,
    exit_: CardExit,
    cut: CardCut,
    feeds: Sequence[Feeds],
    truths: Sequence[dict[str, Array]],
) -> str:
    needed, sent, kept = exit_.source, cut.crossing, cut.computed(exit_.outputs)
    try:
        head = None if set(cut.names) <= set(needed) else _part(store, card, needed, sent, kept)
        tail = _part(store, card, sent, [name for name in exit_.outputs if name not in kept])
        for feed, truth in zip(feeds, truths, strict=True):
            values = dict(feed)
            for part in (head, tail) if head is not None else (tail,):
                found = part.run({t.name: values[t.name] for t in part.inputs})
                values.update(zip((t.name for t in part.outputs), found, strict=True))
            if said := difference({name: truth[name] for name in exit_.outputs}, values):
                return said
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _part(
    store: ModelStore, card: ModelCard, start: Sequence[str], end: Sequence[str], kept: Sequence[str] = ()
) -> Session:
    made = store.slice(card.digest, start, end, kept=kept)
    with store.blob(made.digest) as blob:
        data = b"".join(blob.chunks)
    inputs, outputs = (
        tuple(Tensor(t.name, t.datatype, t.shape, batched=t.batched is not False) for t in each)
        for each in (made.inputs, made.outputs)
    )
    return Session(data, inputs, outputs)
