"""The recipes of docs/frameworks.md are the lines that the checks run."""

import re
from pathlib import Path
from textwrap import indent

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "PyTorch": "benchmarks/frameworks/export_pytorch.py",
    "TensorFlow and Keras": "benchmarks/frameworks/export_keras.py",
}


@pytest.mark.parametrize("framework", SCRIPTS)
def test_the_recipe_of_a_framework_is_what_its_script_runs(framework: str) -> None:
    page = (ROOT / "docs" / "frameworks.md").read_text()
    section = page.partition(f"## Export from {framework}\n")[2].partition("\n## ")[0]
    (recipe,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert indent(recipe, "    ") in (ROOT / SCRIPTS[framework]).read_text()
