"""Runtimes get the address of their node's cache, and only then their pods differ."""

import dataclasses
from typing import Any

import pytest

from edge_operator.errors import SettingsError
from edge_operator.nodes.rollouts import SURGE
from edge_operator.nodes.runtimes import Host, Runtime
from edge_operator.nodes.workloads import runtime_deployment, runtime_version
from edge_operator.settings import Settings
from messages import mentions

URL = "https://edge-node-cache.edge-intelligence.svc.cluster.local:8080"
WITHOUT = Settings("http://store.test:8080", "edge-runtime:test")
WITH = dataclasses.replace(WITHOUT, node_cache_url=URL)
HOST = Host("cam-1", ready=True)


def pod(settings: Settings) -> dict[str, Any]:
    deployment = runtime_deployment(Runtime("shop", "cam-1"), HOST, settings, SURGE)
    found: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return found


def test_the_address_is_a_variable_which_runtimes_of_other_images_ignore() -> None:
    container, plain = pod(WITH)["containers"][0], pod(WITHOUT)["containers"][0]
    assert container.pop("env") == [{"name": "EDGE_NODE_CACHE", "value": URL}]
    assert container == plain


def test_the_pod_mounts_nothing_of_the_node() -> None:
    assert pod(WITH)["volumes"] == pod(WITHOUT)["volumes"]


def test_a_cache_makes_a_new_version_of_the_runtimes() -> None:
    assert runtime_version("shop", HOST, WITH) != runtime_version("shop", HOST, WITHOUT)


def test_the_address_is_read_from_the_environment() -> None:
    given = {"EDGE_STORE": "http://store.test:8080", "EDGE_RUNTIME_IMAGE": "edge-runtime:test"}
    assert Settings.from_environment(given).node_cache_url == ""
    assert Settings.from_environment(given | {"EDGE_NODE_CACHE": f"{URL}/"}).node_cache_url == URL
    with pytest.raises(SettingsError, match=mentions("EDGE_NODE_CACHE", "edge-node-cache:8080")):
        Settings.from_environment(given | {"EDGE_NODE_CACHE": "node-cache:8080"})
