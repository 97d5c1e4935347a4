"""An invalid environment variable is reported by name at the start."""

import pytest

from edge_operator.cli import main
from edge_operator.errors import SettingsError
from edge_operator.settings import Settings

GOOD = {"EDGE_STORE": "http://store:8080/", "EDGE_RUNTIME_IMAGE": "edge-runtime:1"}


def test_the_charts_environment_is_read() -> None:
    more = {"EDGE_RUNTIME_RESOURCES": '{"requests": {"cpu": "10m"}}', "EDGE_PULL_SECRETS": "a,b"}
    assert Settings.from_environment(GOOD | more).tls_dir == ""
    more["EDGE_TLS_DIR"] = "/etc/edge/tls"
    settings = Settings.from_environment(GOOD | more)
    assert settings.store_url == "http://store:8080"
    assert settings.runtime_resources == {"requests": {"cpu": "10m"}}
    assert settings.pull_secrets == ("a", "b")
    assert settings.tls_dir == "/etc/edge/tls"
    assert settings.status_rights == "Auto"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"EDGE_STORE": ""}, "EDGE_STORE: not set"),
        ({"EDGE_STORE": "store:8080"}, 'EDGE_STORE: "store:8080"'),
        ({"EDGE_RUNTIME_IMAGE": ""}, "EDGE_RUNTIME_IMAGE: not set"),
        (
            {"EDGE_RUNTIME_PULL_POLICY": "Sometimes"},
            'EDGE_RUNTIME_PULL_POLICY: "Sometimes".* Always, IfNotPresent, Never',
        ),
        ({"EDGE_STATUS_RIGHTS": "None"}, 'EDGE_STATUS_RIGHTS: "None".* Auto, Policy, Roles, Namespace'),
        ({"EDGE_RUNTIME_RESOURCES": "lots"}, "EDGE_RUNTIME_RESOURCES: not JSON"),
        ({"EDGE_RUNTIME_RESOURCES": "[]"}, "EDGE_RUNTIME_RESOURCES: not a JSON object"),
        ({"EDGE_TRACING_ENDPOINT": "collector:4317"}, 'EDGE_TRACING_ENDPOINT: "collector:4317"'),
        ({"EDGE_TRACING_RATIO": "1.5"}, 'EDGE_TRACING_RATIO: "1.5"'),
        ({"EDGE_RUNTIME_GRPC": "60"}, "EDGE_RUNTIME_GRPC: not a JSON object"),
        ({"EDGE_RUNTIME_GRPC": '{"host": 1}'}, 'EDGE_RUNTIME_GRPC: "host": 1'),
        (
            {"EDGE_RUNTIME_GRPC": '{"grpc-keepalive-time": "1m"}'},
            'EDGE_RUNTIME_GRPC: "grpc-keepalive-time": "1m"',
        ),
        ({"EDGE_NETWORK_POLICIES": "true"}, "EDGE_NETWORK_POLICIES: not a JSON object"),
        (
            {"EDGE_NETWORK_POLICIES": '{"clients": ["10.0.0.0/8"]}'},
            'EDGE_NETWORK_POLICIES: "clients": .*10.0.0.0/8.* not a list of peers',
        ),
        ({"EDGE_TRACING_RATIO": "some"}, 'EDGE_TRACING_RATIO: "some"'),
    ],
)
def test_a_bad_variable_is_named_with_its_fix(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.from_environment(GOOD | change)


def test_it_listens_to_the_family_at_which_the_kubelet_asks() -> None:
    listens = {
        ip: Settings.from_environment(GOOD | {"EDGE_POD_IP": ip}).listen for ip in ("", "10.1.2.3", "fd00::7")
    }
    assert listens == {"": "0.0.0.0", "10.1.2.3": "0.0.0.0", "fd00::7": "::"}


def test_the_command_ends_with_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    assert main(["run"]) == 2
    assert capsys.readouterr().err.startswith("edge-operator: EDGE_STORE: not set")
