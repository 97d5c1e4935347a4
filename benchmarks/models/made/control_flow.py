"""Branches, loops, sequences and optional values inside a network."""

from typing import Final

import numpy as np

from benchmarks.models.made.networks import MadeModel, all_of, noise

CONTROL_FLOW: Final = (
    MadeModel(
        "if-branches",
        "If",
        """classifier (float[N, 8] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            r = Relu (h)
            m = ReduceMax <keepdims = 0> (r)
            limit = Constant <value = float {2.5}> ()
            high = Greater (m, limit)
            chosen = If (high) <
                then_branch = loud () => (float[N, 8] a) { a = Tanh (r) },
                else_branch = quiet () => (float[N, 8] b) { b = Add (r, x) }
            >
            y = MatMul (chosen, w2)
        }""",
        {"x": noise(1, 8, other=(3, 8))},
        {"w1": (8, 8), "w2": (8, 4)},
    ),
    MadeModel(
        "loop-carried",
        "Loop",
        """iterated (float[N, 8] x) => (float[N, 4] y, float[T, N, 8] steps)
        {
            h = MatMul (x, w1)
            times = Constant <value = int64 {5}> ()
            go = Constant <value = bool {1}> ()
            last, steps = Loop (times, go, h) <
                body = step (int64 i, bool c, float[N, 8] a) => (bool c2, float[N, 8] b, float[N, 8] out)
                {
                    c2 = Identity (c)
                    p = MatMul (a, w2)
                    b = Tanh (p)
                    out = Identity (b)
                }
            >
            y = MatMul (last, w3)
        }""",
        {"x": noise(1, 8, other=(3, 8))},
        {"w1": (8, 8), "w2": (8, 8), "w3": (8, 4)},
    ),
    MadeModel(
        "loop-until",
        "Loop",
        """until (float[N, 8] x, int64 most) => (float[N, 8] y)
        {
            go = Constant <value = bool {1}> ()
            y = Loop (most, go, x) <
                body = step (int64 i, bool c, float[N, 8] a) => (bool c2, float[N, 8] b)
                {
                    p = MatMul (a, w)
                    b = Add (p, x)
                    size = ReduceL2 <keepdims = 0> (b)
                    limit = Constant <value = float {50.0}> ()
                    c2 = Less (size, limit)
                }
            >
        }""",
        {"x": noise(1, 8, other=(2, 8)), "most": all_of(20)},
        {"w": (8, 8)},
    ),
    MadeModel(
        "scan-frames",
        "Scan",
        """recurrent (float[T, 8] frames, float[8] state) => (float[8] last, float[T, 4] found)
        {
            wide = MatMul (frames, w1)
            last, hidden = Scan <
                num_scan_inputs = 1,
                body = cell (float[8] s, float[8] f) => (float[8] n, float[8] o)
                {
                    p = MatMul (s, w2)
                    q = Add (p, f)
                    n = Tanh (q)
                    o = Identity (n)
                }
            > (state, wide)
            found = MatMul (hidden, w3)
        }""",
        {"frames": noise(6, 8, other=(11, 8)), "state": noise(8)},
        {"w1": (8, 8), "w2": (8, 8), "w3": (8, 4)},
    ),
    MadeModel(
        "sequences",
        "sequences",
        """windows (float[N, 12] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            parts = SplitToSequence <axis = 1> (h, sizes)
            at = Constant <value = int64 {1}> ()
            one = SequenceAt (parts, at)
            more = SequenceInsert (parts, one)
            joined = ConcatFromSequence <axis = 1> (more)
            y = MatMul (joined, w2)
        }""",
        {"x": noise(1, 12, other=(3, 12))},
        {"w1": (12, 12), "w2": (16, 4), "sizes": np.array([4, 4, 4], np.int64)},
    ),
    MadeModel(
        "optional-value",
        "optional",
        """perhaps (float[N, 8] x) => (float[N, 4] y)
        {
            h = MatMul (x, w1)
            held = Optional (h)
            known = OptionalHasElement (held)
            got = OptionalGetElement (held)
            s = Cast <to = 1> (known)
            scaled = Mul (got, s)
            y = MatMul (scaled, w2)
        }""",
        {"x": noise(1, 8, other=(3, 8))},
        {"w1": (8, 8), "w2": (8, 4)},
        opset=18,
    ),
)
