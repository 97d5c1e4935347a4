"""What an error of onnxruntime says, short enough for a condition. Pure."""

import re
from typing import Final

_LONGEST: Final = 300
_NODE: Final = re.compile(
    r"(?:\[ONNXRuntimeError\][^A-Za-z]*\w+ : )?Non-zero status code returned while running (\w+) node\. "
    r"Name:'([^']*)' Status Message: "
)


def told(error: Exception) -> str:
    """Returns the first line of an error, beginning with the innermost node that failed.

    An operator that runs another graph, such as If or Loop, repeats the error of the node within.
    """
    line = (str(error).strip().splitlines() or ["no reason given"])[0]
    nodes = list(_NODE.finditer(line))
    if nodes:
        innermost = nodes[-1]
        line = f'{innermost[1]} "{innermost[2]}": {line[innermost.end() :]}'
    return line[:_LONGEST]
