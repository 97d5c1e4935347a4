"""A real multi-node Kubernetes cluster on one Linux machine, with shaped links."""

from testbed.bed import Testbed
from testbed.errors import KubectlFailed, TestbedError
from testbed.topology import NodeSpec

__all__ = ["KubectlFailed", "NodeSpec", "Testbed", "TestbedError"]
