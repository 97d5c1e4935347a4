"""Node groups with shared memory: the runtimes of listed namespaces on their nodes mount the claim."""

from typing import Any

World = Any  # tests/operator/conftest.py


def volumes(world: World) -> dict[str, list[Any]]:
    """The claims that each runtime mounts."""
    deployments = [b for (kind, *_), b in world.cluster.objects.items() if kind == "Deployment"]
    return {
        body["metadata"]["name"]: [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in body["spec"]["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        ]
        for body in deployments
    }


def share(world: World, *namespaces: str) -> None:
    pool = world.pool()
    pool["spec"]["nodes"][1] |= {"sharedMemory": {"claimName": "frames", "namespaces": [*namespaces]}}
    world.cluster.put(pool)


def test_runtimes_of_a_listed_namespace_mount_the_claim_of_their_group(world: World) -> None:
    share(world, "default")
    world.settle()
    found = volumes(world)
    assert found["edge-runtime-cam-1"] == ["frames"]
    assert found["edge-runtime-gate"] == []


def test_runtimes_of_other_namespaces_do_not(world: World) -> None:
    share(world, "bank")
    world.settle()
    assert not any(volumes(world).values())
