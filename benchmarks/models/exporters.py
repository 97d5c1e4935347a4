"""Trains and exports tabular models; runs in the environment of requirements/exporters.lock.

Run with the folder to write to.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnxmltools import convert_xgboost  # type: ignore[import-not-found]
from onnxmltools.convert.common.data_types import (  # type: ignore[import-not-found]
    FloatTensorType as BoostedFloats,
)
from skl2onnx import convert_sklearn, to_onnx  # type: ignore[import-not-found]
from skl2onnx.common.data_types import (  # type: ignore[import-not-found]
    FloatTensorType,
    StringTensorType,
)
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingRegressor, IsolationForest, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor  # type: ignore[import-not-found]

PLAIN = {"zipmap": False}
OPSETS = {"": 17, "ai.onnx.ml": 3}


def models() -> Iterator[tuple[str, Any]]:
    """Names and models of all exports."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 4)).astype(np.float32)
    score = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    label = np.array(["good", "schlecht", "größer"])[score]
    forest = RandomForestClassifier(10, random_state=0).fit(x, label)
    yield "forest", to_onnx(forest, x[:1], options=PLAIN, target_opset=OPSETS)
    yield "forest-zipmap", to_onnx(forest, x[:1], target_opset=OPSETS)
    boosted = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(x, x[:, 2])
    yield "gradient-boosting", to_onnx(boosted, x[:1], target_opset=OPSETS)
    outliers = IsolationForest(n_estimators=20, random_state=0).fit(x)
    yield "outliers", to_onnx(outliers, x[:1], target_opset=OPSETS)
    perceptron = MLPClassifier((16, 8), random_state=0, max_iter=500).fit(x, score)
    scaled = make_pipeline(StandardScaler().fit(x), perceptron)
    yield "perceptron", to_onnx(scaled, x[:1], options=PLAIN, target_opset=OPSETS)

    rows = np.empty((200, 2), object)
    rows[:, 0], rows[:, 1] = x[:, 0], np.array(["Köln", "Bonn", ""])[rng.integers(0, 3, 200)]
    kinds = ColumnTransformer(
        [("numbers", StandardScaler(), [0]), ("words", OneHotEncoder(handle_unknown="ignore"), [1])]
    )
    columns = make_pipeline(kinds, LogisticRegression()).fit(rows, label)
    types = [("age", FloatTensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    yield "columns", convert_sklearn(columns, initial_types=types, options=PLAIN, target_opset=OPSETS)

    texts = ["good ware", "bad ware", "good good", "never again"] * 10
    tf_idf = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0] * 10)
    words = [("text", StringTensorType([None, 1]))]
    # A locale that every machine has; the default of the operator is en_US.UTF-8.
    lowered = {
        TfidfVectorizer: {"locale": "C.UTF-8"},
        LogisticRegression: PLAIN,
    }  # a locale that exists everywhere
    yield "tf-idf", convert_sklearn(tf_idf, initial_types=words, options=lowered, target_opset=OPSETS)

    floats = [("X", BoostedFloats([None, 4]))]
    classes = XGBClassifier(n_estimators=10, max_depth=3).fit(x, score)
    yield "xgboost-classes", convert_xgboost(classes, initial_types=floats, target_opset=15)
    values = XGBRegressor(n_estimators=10, max_depth=3).fit(x, x[:, 2])
    yield "xgboost-values", convert_xgboost(values, initial_types=floats, target_opset=15)


if __name__ == "__main__":
    for name, model in models():
        (Path(sys.argv[1]) / f"{name}.onnx").write_bytes(model.SerializeToString())
