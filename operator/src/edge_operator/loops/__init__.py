"""The loops of the operator: for each DevicePool, Triton server and namespace, and for links of nodes."""
