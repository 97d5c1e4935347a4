"""Accuracy of detectors: COCO's mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from edge_runtime.errors import BadRequest
from edge_runtime.store.accuracies.metric import AccuracyMetric, Outputs, ragged
from edge_runtime.tensors import Array

_MOST: Final = 100
"""Detections of an image that count, those with the highest scores, as on COCO's leaderboard."""
_WHOLE_LINE: Final = 6


class MeanAveragePrecision(AccuracyMetric):
    """Mean over classes and over IoU thresholds from 0.50 to 0.95 in steps of 0.05, boxes of all sizes."""

    name = "MeanAveragePrecision"
    arrays = ("boxes", "classes", "images")
    wanted = (
        "boxes [M, 4] as x1, y1, x2, y2 in the unit of the model's boxes, classes [M] and images [M], whole "
        "numbers: the class of each box and the row of inputs that it is in"
    )
    outputs = (
        "boxes [N, K, 4] as x1, y1, x2, y2, then scores [N, K] and possibly classes [N, K], or scores "
        "[N, K, classes]; or one output [N, K, 6] of x1, y1, x2, y2, score and class"
    )

    def read(self, arrays: Mapping[str, Array], count: int) -> tuple[AccuracyMetric, Array | None]:
        """The labels are an array [k, 5] for each image: corners and class of its k boxes."""
        boxes, classes, images = (arrays.get(name) for name in ("boxes", "classes", "images"))
        if boxes is None or boxes.ndim != 2 or boxes.shape[1:] != (4,) or boxes.dtype.kind not in "fiu":
            raise self.refusal("boxes", boxes, count)
        for name, array in (("classes", classes), ("images", images)):
            if array is None or array.shape != (len(boxes),) or array.dtype.kind not in "iu":
                raise self.refusal(name, array, count)
        assert classes is not None
        assert images is not None
        if not len(boxes):
            raise BadRequest("validation: boxes is empty: give the boxes that a detector must find")
        if images.min() < 0 or images.max() >= count:
            raise BadRequest(
                f"validation: images are {images.min()} to {images.max()} for {count} inputs: write the row "
                f"of each box in inputs, 0 to {count - 1}"
            )
        if not (boxes[:, 2:] > boxes[:, :2]).all():  # NaN too
            raise BadRequest(
                "validation: boxes have corners in another order than x1 < x2 and y1 < y2, or no area: write "
                "x1, y1, x2, y2"
            )
        lines = np.column_stack([boxes, classes]).astype(np.float64)
        return self, ragged([lines[images == image] for image in range(count)])

    def takes(self, outputs: Outputs, labels: Array | None = None) -> bool:
        return all(_split(row) is not None for row in _images(outputs))

    def accuracy(self, outputs: Outputs, labels: Array) -> float:
        return _mean_precision([_detections(row) for row in _images(outputs)], list(labels))

    def agreement(self, outputs: Outputs, others: Outputs) -> float:
        right = [np.delete(_detections(row), 4, axis=1) for row in _images(others)]
        return _mean_precision([_detections(row) for row in _images(outputs)], right)


def _images(outputs: Outputs) -> Iterator[tuple[Array, ...]]:
    return zip(*([np.asarray(row) for row in each] for each in outputs), strict=True)


def _split(row: Sequence[Array]) -> tuple[Array, Array, Array] | None:
    """Boxes [K, 4], scores [K] and classes [K] of an image; None if the outputs have another form."""
    first, *rest = row
    if first.ndim != 2 or first.dtype.kind != "f":
        return None
    if not rest:
        return (first[:, :4], first[:, 4], first[:, 5]) if first.shape[1] == _WHOLE_LINE else None
    scores, *classes = rest
    if first.shape[1] != 4 or len(scores) != len(first) or scores.dtype.kind != "f":
        return None
    if scores.ndim == 2 and not classes and scores.shape[1]:
        return first, scores.max(1), scores.argmax(1)
    if scores.ndim != 1 or len(classes) > 1:
        return None
    kinds = classes[0] if classes else np.zeros(len(scores))
    return (first, scores, kinds) if kinds.shape == scores.shape and kinds.dtype.kind in "fiu" else None


def _detections(row: Sequence[Array]) -> Array:
    """Corners, score and class [k, 6] of the detections with finite boxes and a score above 0."""
    found = _split(row)
    assert found is not None
    boxes, scores, classes = found
    lines = np.column_stack([boxes, scores, classes]).astype(np.float64)
    return lines[np.isfinite(lines).all(axis=1) & (lines[:, 4] > 0)]


def _mean_precision(found: Sequence[Array], right: Sequence[Array]) -> float:
    """COCO's AP. 1 if there is nothing to find and nothing found, 0 if only the former."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not any(map(len, right)):
        return float(not any(map(len, found)))
    with contextlib.redirect_stdout(io.StringIO()):  # both print progress
        truth, detected = COCO(), COCO()
        for coco, images in ((truth, right), (detected, found)):
            coco.dataset = _dataset(images, {int(line[-1]) for each in right for line in each})
            coco.createIndex()
        evaluation = COCOeval(truth, detected, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, float("inf")]], ["all"]
        evaluation.params.maxDets = [_MOST]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"]  # [thresholds, recalls, classes, areas, maxDets]
    return float(precision[precision > -1].mean())


def _dataset(images: Sequence[Array], classes: set[int]) -> Any:  # noqa: ANN401 - its type is of the stubs alone
    """COCO's form: boxes as x, y, width and height, with numbers from 1."""
    lines = [(image, line) for image, each in enumerate(images) for line in each]
    return {
        "info": {},
        "images": [{"id": image} for image in range(len(images))],
        "categories": [{"id": each} for each in sorted(classes)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": int(line[-1]),
                "bbox": [line[0], line[1], line[2] - line[0], line[3] - line[1]],
                "area": (line[2] - line[0]) * (line[3] - line[1]),
                "iscrowd": 0,
                "score": line[4] if len(line) == _WHOLE_LINE else 1.0,
            }
            for number, (image, line) in enumerate(lines, start=1)
        ],
    }


MEAN_AVERAGE_PRECISION: Final = MeanAveragePrecision()
