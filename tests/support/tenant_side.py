"""What the operator's test world does with Tenants."""

from typing import Any

from edge_operator.clients import Clients, Clock
from edge_operator.cluster import DEPLOYMENTS, TENANTS, Object
from edge_operator.loops.tenant_reports import TenantReports
from operator_objects import rolled_out, service_body


class TenantSide:
    """Tenants of a world, whose status is written when a test wants it."""

    tenants: TenantReports

    @property
    def clients(self) -> Clients:
        raise NotImplementedError

    def clock(self) -> Clock:
        raise NotImplementedError

    @property
    def _objects(self) -> Any:
        return self.clients.cluster

    def put_tenant(self, name: str = "shop", **spec: Any) -> None:
        """Creates or replaces a Tenant of the namespaces with the label team, as a user would."""
        selector = {"namespaceSelector": {"matchLabels": {"team": name}}}
        body = {"kind": "Tenant", "metadata": {"name": name}, "spec": selector | spec}
        self._objects.put({"apiVersion": "edge-intelligence.io/v1alpha1"} | body)

    def label_namespace(self, team: str = "shop", name: str = "default") -> None:
        """Creates a namespace of a team."""
        metadata = {"name": name, "labels": {"team": team}}
        self._objects.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})

    def add_namespace(self, namespace: str = "lab-1", *, name: str = "digits", **spec: Any) -> None:
        """Creates or replaces a service of another namespace on the same pool."""
        body = service_body(**spec)
        body["metadata"] |= {"namespace": namespace, "name": name}
        self._objects.put(body)

    def start_pods(self) -> None:
        """The kubelet starts a pod of each Deployment, in place of the one before."""
        for body in self._objects.find(DEPLOYMENTS, "default"):
            self._objects.put(rolled_out(body))
            name, template = body["metadata"]["name"], body["spec"]["template"]
            labels = body["metadata"]["labels"] | template["metadata"]["labels"]
            metadata = {"name": f"{name}-x", "namespace": "default", "labels": labels}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            self._objects.put(pod | {"status": {"phase": "Running"}})

    def end_pods(self, *names: str) -> None:
        """The pods of these runtimes, or of all, have ended."""
        for kind, namespace, name in [key for key in self._objects.objects if key[0] == "Pod"]:
            if not names or name.removesuffix("-x") in names:
                del self._objects.objects[kind, namespace, name]

    def report_tenants(self) -> None:
        """Writes the status of all Tenants."""
        self.tenants.clients, self.tenants.clock = self.clients, self.clock()
        self.tenants.tenants_changed()
        self.tenants.report()

    def tenant(self, name: str = "shop") -> Object:
        """The status of a Tenant."""
        body = self._objects.get(TENANTS, None, name)
        assert body is not None
        status: Object = body["status"]
        return status
