"""What the operator has seen of the cluster: objects in memory, fed by watches."""
