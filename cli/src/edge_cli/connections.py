"""How commands reach a cluster: the kubeconfig, its context and namespace, as kubectl reads them.

What takes long to import is imported when a command connects, so that `ei --help` needs none of it.
"""

from __future__ import annotations

import datetime
import email.utils
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edge_cli.errors import CommandError, ExitStatus

if TYPE_CHECKING:
    import kubernetes.client

    from edge_operator.cluster import ApiServer, Object
    from edge_operator.explaining.installed import Installed

_TIMES: Final = (5.0, 30.0)
"""Seconds to connect, and to wait for a response."""
_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster, and the namespace that a command is about. client: None if there is no API server."""

    cluster: ApiServer
    namespace: str
    client: kubernetes.client.ApiClient | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def operator(self) -> Installed:
        """Returns the settings of the operator that runs. Raises ExplanationError, ClusterError."""
        from edge_operator.explaining.installed import installed

        return installed(self.environment, self.cluster)

    def now(self) -> datetime.datetime:
        """Returns the time."""
        return datetime.datetime.now(datetime.UTC)

    def create(self, path: str, body: Object) -> Object:
        """Creates an object that is answered, not stored: a review, or a token. Raises CommandError."""
        found: Object = json.loads(self._request("POST", path, body)[0])
        return found

    def server_time(self) -> datetime.datetime | None:
        """Returns the time by the clock of the API server, if it tells. Raises CommandError."""
        date = self._request("GET", "/version", None)[1]
        return email.utils.parsedate_to_datetime(date) if date else None

    def _request(self, method: str, path: str, body: Object | None) -> tuple[str, str]:
        """Returns the body and the date of a response."""
        import urllib3.exceptions
        from kubernetes.client.exceptions import ApiException

        if self.client is None:
            raise CommandError(f"API server: {path}: there is no connection", ExitStatus.UNREACHABLE)
        request = self.client.param_serialize(
            method,
            path,
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self.client.call_api(*request, _request_timeout=_TIMES)
            content: str = response.read().decode()  # type: ignore[no-untyped-call]
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise CommandError(
                f"API server: {path}: no response ({error})", ExitStatus.UNREACHABLE
            ) from error
        if response.status >= 300:
            denied = response.status in (401, 403)
            raise CommandError(
                f"API server: {path}: {_said(content)}", ExitStatus.DENIED if denied else ExitStatus.PROBLEM
            )
        return content, str(response.headers.get("Date") or "")


def connect(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Connection:
    """Returns the connection that the flags choose; without them as kubectl does.

    Raises CommandError if there is no kubeconfig and no ServiceAccount, or the context does not exist.
    """
    import kubernetes.client
    import kubernetes.config

    from edge_operator.cluster import ApiServer

    configuration = kubernetes.client.Configuration()
    configuration.retries = False
    try:
        if kubeconfig is None and context is None and _in_pod():
            kubernetes.config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            own = _ACCOUNT.read_text().strip() if _ACCOUNT.exists() else "default"
        else:
            file = None if kubeconfig is None else str(kubeconfig)
            kubernetes.config.load_kube_config(file, context, configuration)  # type: ignore[no-untyped-call]
            own = _namespace_of(file, context)
    except (kubernetes.config.ConfigException, OSError) as error:
        raise CommandError(
            f"kubeconfig: {error}: set KUBECONFIG or --kubeconfig to the path of a kubeconfig, and --context "
            "to one of its contexts",
            ExitStatus.UNREACHABLE,
        ) from error
    client = kubernetes.client.ApiClient(configuration)
    return Connection(ApiServer(client), namespace or own, client)


def _in_pod() -> bool:
    return not os.environ.get("KUBECONFIG") and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))


def _namespace_of(file: str | None, context: str | None) -> str:
    import kubernetes.config

    contexts, active = kubernetes.config.list_kube_config_contexts(file)  # type: ignore[no-untyped-call]
    chosen = next((each for each in contexts if each["name"] == context), active)
    return str((chosen.get("context") or {}).get("namespace") or "default")


def _said(content: str) -> str:
    try:
        found: dict[str, Any] = json.loads(content)
        return str(found.get("message") or content)
    except (ValueError, AttributeError):
        return content[:600]
