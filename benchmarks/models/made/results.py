"""Results of other forms than one tensor of scores: boxes, none at all, states, maps, several exits."""

import json
from typing import Final

import numpy as np

from benchmarks.models.made.networks import MadeModel, noise

_EXITS: Final = [
    {"name": "early", "outputs": ["early_boxes", "early_scores"], "accuracy": 0.6},
    {"name": "final", "outputs": ["boxes", "scores"], "accuracy": 0.9},
]

RESULTS: Final = (
    MadeModel(
        "boxes-and-scores",
        "object detection, two exits",
        """detector (float[N, 3, 32, 32] image)
            => (float[N, 4, 16, 16] early_boxes, float[N, 1, 16, 16] early_scores,
                float[N, 4, 8, 8] boxes, float[N, 1, 8, 8] scores)
        {
            c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w1)
            r1 = Relu (c1)
            early_boxes = Conv (r1, b1)
            e = Conv (r1, s1)
            early_scores = Sigmoid (e)
            c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2)
            r2 = Relu (c2)
            boxes = Conv (r2, b2)
            s = Conv (r2, s2)
            scores = Sigmoid (s)
        }""",
        {"image": noise(1, 3, 32, 32, other=(3, 3, 32, 32))},
        {
            "w1": (8, 3, 3, 3),
            "b1": (4, 8, 1, 1),
            "s1": (1, 8, 1, 1),
            "w2": (16, 8, 3, 3),
            "b2": (4, 16, 1, 1),
            "s2": (1, 16, 1, 1),
        },
        metadata={"edge.exits": json.dumps(_EXITS)},
    ),
    MadeModel(
        "found-boxes",
        "object detection, as many boxes as found",
        """detector (float[1, 24, 6] x) => (float[B, 6] boxes)
        {
            h = MatMul (x, w)
            s = ReduceSum <keepdims = 0> (h, last)
            hit = Greater (s, limit)
            flat = Reshape (hit, all)
            rows = Reshape (h, of_six)
            boxes = Compress <axis = 0> (rows, flat)
        }""",
        {"x": noise(1, 24, 6)},
        {
            "w": (6, 6),
            "last": np.array([2]),
            "all": np.array([-1]),
            "of_six": np.array([-1, 6]),
            "limit": np.array(1.0, np.float32),
        },
    ),
    MadeModel(
        "no-boxes",
        "object detection, none found",
        """detector (float[N, 24, 6] x) => (float[B, 6] boxes, int64[B, 3] chosen)
        {
            h = MatMul (x, w)
            b, rest = Split <axis = 2> (h, sizes)
            first, second = Split <axis = 2> (rest, ones)
            scores = Transpose <perm = [0, 2, 1]> (first)
            chosen = NonMaxSuppression (b, scores, most, overlap, limit)
            s = ReduceSum <keepdims = 0> (h, last)
            hit = Greater (s, limit_rows)
            flat = Reshape (hit, all)
            rows = Reshape (h, of_six)
            boxes = Compress <axis = 0> (rows, flat)
        }""",
        {"x": noise(1, 24, 6, other=(2, 24, 6))},
        {
            "w": (6, 6),
            "last": np.array([2]),
            "all": np.array([-1]),
            "of_six": np.array([-1, 6]),
            "sizes": np.array([4, 2]),
            "ones": np.array([1, 1]),
            "most": np.array([5]),
            "overlap": np.array([0.5], np.float32),
            "limit": np.array([1e9], np.float32),
            "limit_rows": np.array(1e9, np.float32),
        },
    ),
    MadeModel(
        "decoder-step",
        "decoder with a cache, empty at first",
        """decoder (float[B, S, 8] tokens, float[B, P, 8] past)
            => (float[B, S, 12] logits, float[B, T, 8] present)
        {
            key = MatMul (tokens, wk)
            present = Concat <axis = 1> (past, key)
            turned = Transpose <perm = [0, 2, 1]> (present)
            query = MatMul (tokens, wq)
            raw = MatMul (query, turned)
            weights = Softmax <axis = -1> (raw)
            mixed = MatMul (weights, present)
            logits = MatMul (mixed, wo)
        }""",
        {"tokens": noise(1, 1, 8, other=(1, 3, 8)), "past": noise(1, 0, 8, other=(1, 5, 8))},
        {"wk": (8, 8), "wq": (8, 8), "wo": (8, 12)},
    ),
    MadeModel(
        "pose-heat-maps",
        "pose",
        """pose (float[N, 3, H, W] image) => (float[N, 17, h, w] maps, int64[N, 17] peaks)
        {
            c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (image, w1)
            r1 = Relu (c1)
            c2 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r1, w2)
            r2 = Relu (c2)
            up = ConvTranspose <strides = [2, 2]> (r2, w3)
            r3 = Relu (up)
            maps = Conv (r3, w4)
            flat = Reshape (maps, rows)
            peaks = ArgMax <axis = 2, keepdims = 0> (flat)
        }""",
        {"image": noise(1, 3, 96, 64, other=(2, 3, 64, 64))},
        {
            "w1": (8, 3, 3, 3),
            "w2": (16, 8, 3, 3),
            "w3": (16, 8, 2, 2),
            "w4": (17, 8, 1, 1),
            "rows": np.array([0, 17, -1]),
        },
    ),
    MadeModel(
        "segmentation-masks",
        "image segmentation",
        """unet (float[N, 3, H, W] image) => (float[N, 4, H, W] masks)
        {
            c1 = Conv <pads = [1, 1, 1, 1]> (image, w1)
            r1 = Relu (c1)
            p1 = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r1)
            c2 = Conv <pads = [1, 1, 1, 1]> (p1, w2)
            r2 = Relu (c2)
            up = ConvTranspose <strides = [2, 2]> (r2, w3)
            both = Concat <axis = 1> (up, r1)
            c4 = Conv <pads = [1, 1, 1, 1]> (both, w4)
            masks = Softmax <axis = 1> (c4)
        }""",
        {"image": noise(1, 3, 64, 64, other=(1, 3, 32, 96))},
        {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, 8, 2, 2), "w4": (4, 16, 3, 3)},
    ),
)
