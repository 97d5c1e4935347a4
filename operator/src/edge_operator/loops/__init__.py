"""The loops of the operator: one for each DevicePool, one for the Triton servers, one for namespaces."""
