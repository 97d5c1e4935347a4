"""What needs a Secret or a volume is fetched by a Job in the service's namespace, whose state is reported."""

from typing import Any

import pytest

from edge_operator.cluster import JOBS, SERVICE_ACCOUNTS
from edge_operator.pool import attempts
from edge_operator.settings import Fetching
from edge_operator.store_answers import Progress
from messages import mentions

World = Any  # tests/operator/conftest.py
ATTEMPT = "edge-intelligence.io/attempt"
BUCKET = {"storageUri": "s3://models/digits.onnx", "secretName": "models"}


def wants(world: World, **model: Any) -> None:
    """The service names a model by this address, with what it needs."""
    world.change(model=model)
    world.reconcile()


def fetchers(world: World) -> list[Any]:
    return list(world.cluster.find(JOBS, "default", "app.kubernetes.io/component=fetcher"))


def job(world: World) -> Any:
    (found,) = fetchers(world)
    return found


def container(world: World) -> Any:
    return job(world)["spec"]["template"]["spec"]["containers"][0]


def stored_at(world: World) -> str:
    arguments = container(world)["args"]
    return f"store://{arguments[arguments.index('--name') + 1]}"


def pod(world: World, **status: Any) -> None:
    name = job(world)["metadata"]["name"]
    meta = {"name": f"{name}-x", "namespace": "default", "labels": {"job-name": name}}
    world.cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "status": status})


def end(world: World, how: str) -> None:
    ended = {"type": how, "status": "True", "lastTransitionTime": world.clock().wall().isoformat()}
    world.cluster.put(job(world) | {"status": {"conditions": [ended]}})
    world.reconcile()


def complete(world: World) -> None:
    world.store.fetched.add(stored_at(world))
    end(world, "Complete")


def fail(world: World, message: str) -> None:
    terminated = {"exitCode": 1, "message": f"fetching\n{message}\n"}
    pod(world, containerStatuses=[{"name": "fetcher", "state": {"terminated": terminated}}])
    end(world, "Failed")


def model_ready(world: World) -> tuple[str, str, str]:
    found = world.condition("ModelReady")
    return found["status"], found["reason"], found["message"]


def test_a_model_behind_a_secret_is_fetched_by_a_job_with_the_secret(world: World) -> None:
    wants(world, **BUCKET)
    spec = job(world)["spec"]["template"]["spec"]
    assert container(world)["envFrom"] == [{"secretRef": {"name": "models"}}]
    assert container(world)["args"][:3] == ["fetch", "--source", "s3://models/digits.onnx"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container(world)["securityContext"]["readOnlyRootFilesystem"] is True
    assert job(world)["metadata"]["ownerReferences"][0]["kind"] == "InferenceService"
    account = world.cluster.get(SERVICE_ACCOUNTS, "default", spec["serviceAccountName"])
    assert account["metadata"]["ownerReferences"][0]["name"] == "digits"
    assert model_ready(world)[:2] == ("Unknown", "Fetching")


def test_the_service_is_planned_once_the_job_has_put_the_model_into_the_store(world: World) -> None:
    wants(world, **BUCKET)
    complete(world)
    assert model_ready(world)[:2] == ("True", "Fetched")
    status = world.service()["status"]
    assert status["model"]["storageUri"] == "s3://models/digits.onnx"
    assert world.store.registered[-1].secret_name is None
    assert len(fetchers(world)) == 1


def test_a_model_on_a_volume_is_read_by_a_job_that_mounts_the_claim(world: World) -> None:
    wants(world, storageUri="pvc://shelf/models/digits.onnx")
    volumes = job(world)["spec"]["template"]["spec"]["volumes"]
    claims = [v["persistentVolumeClaim"] for v in volumes if "persistentVolumeClaim" in v]
    assert claims == [{"claimName": "shelf", "readOnly": True}]
    assert "envFrom" not in container(world)
    assert stored_at(world).endswith("/digits.onnx")


def test_a_secret_for_an_address_that_the_store_reads_itself_is_refused(world: World) -> None:
    wants(world, storageUri="store://digits/digits.onnx", secretName="models")
    status, reason, message = model_ready(world)
    assert (status, reason) == ("False", "BadRequest")
    assert mentions("spec.model.secretName", '"models"', "store://", "s3://").search(message)
    assert fetchers(world) == []


def test_a_failed_job_gives_its_reason_and_is_tried_again(world: World) -> None:
    wants(world, **BUCKET)
    fail(
        world, 'Refused: model.storageUri: "s3://models/digits.onnx" was refused (403): check its credentials'
    )
    status, reason, message = model_ready(world)
    assert (status, reason) == ("False", "Refused")
    due = attempts.retry_at(job(world))
    assert due is not None
    wanted = mentions("spec.model.storageUri", "attempt 1", f"{due:%H:%M:%S} UTC", "credentials")
    assert wanted.search(message)
    world.now += 60
    world.reconcile()
    assert job(world)["metadata"]["annotations"][ATTEMPT] == "2"
    assert model_ready(world)[1] == "Refused"


def test_a_pod_whose_secret_is_missing_is_reported(world: World) -> None:
    wants(world, **BUCKET)
    waiting = {"reason": "CreateContainerConfigError", "message": 'secret "models" not found'}
    pod(world, containerStatuses=[{"name": "fetcher", "state": {"waiting": waiting}}])
    world.reconcile()
    status, reason, message = model_ready(world)
    assert (status, reason) == ("False", "FetchFailed")
    assert mentions('secret "models" not found').search(message)


def test_the_condition_tells_how_much_has_arrived(world: World) -> None:
    wants(world, **BUCKET)
    address = stored_at(world)
    world.store.receiving[address] = Progress(source=address, received=730, size=1000)
    world.now += 60  # messages alone are written at intervals
    world.reconcile()
    assert mentions("70 % of 1000 bytes").search(model_ready(world)[2])


def test_a_file_that_the_store_has_lost_is_fetched_again(world: World) -> None:
    wants(world, **BUCKET)
    end(world, "Complete")  # and nothing is stored
    assert model_ready(world)[1] == "NotFound"
    world.now += 60
    world.reconcile()
    assert job(world)["metadata"]["annotations"][ATTEMPT] == "2"


SAMPLES = {"storageUri": "s3://models/samples.npz", "secretName": "models"}


def test_samples_behind_a_secret_are_fetched_beside_a_model_that_the_store_reads_itself(world: World) -> None:
    wants(world, storageUri="store://digits/digits.onnx", samples=SAMPLES)
    assert container(world)["args"][:5] == [
        "fetch", "--source", "s3://models/samples.npz", "--field", "model.samples",
    ]  # fmt: skip
    assert "--with-data" not in container(world)["args"]
    assert model_ready(world)[:2] == ("Unknown", "Fetching")
    address = stored_at(world)
    complete(world)
    assert model_ready(world)[:2] == ("True", "Fetched")
    read = world.store.registered[-1].samples
    assert (read.storage_uri, read.secret_name) == (address, None)
    assert world.store.registered[-1].storage_uri == "store://digits/digits.onnx"


def test_samples_on_a_volume_are_read_by_a_job_that_mounts_the_claim(world: World) -> None:
    wants(world, storageUri="store://digits/digits.onnx", samples={"storageUri": "pvc://shelf/samples.npz"})
    volumes = job(world)["spec"]["template"]["spec"]["volumes"]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v]
    assert claims == ["shelf"]


def test_a_model_and_its_samples_are_fetched_by_two_jobs_at_once(world: World) -> None:
    wants(world, **BUCKET, samples=SAMPLES)
    sources = {each["spec"]["template"]["spec"]["containers"][0]["args"][2] for each in fetchers(world)}
    assert sources == {"s3://models/digits.onnx", "s3://models/samples.npz"}


def test_why_samples_cannot_be_fetched_is_reported_with_their_field(world: World) -> None:
    wants(world, storageUri="store://digits/digits.onnx", samples=SAMPLES)
    fail(world, 'Refused: model.samples.storageUri: "s3://models/samples.npz" was refused (403)')
    status, reason, message = model_ready(world)
    assert (status, reason) == ("False", "Refused")
    assert mentions("spec.model.samples.storageUri", "attempt 1").search(message)


def test_a_secret_for_samples_that_the_store_reads_itself_is_refused(world: World) -> None:
    wants(
        world,
        storageUri="store://digits/digits.onnx",
        samples={"storageUri": "store://s.npz", "secretName": "m"},
    )
    assert mentions("spec.model.samples.secretName", '"m"').search(model_ready(world)[2])


def test_the_job_of_samples_ends_with_their_address(world: World) -> None:
    wants(world, storageUri="store://digits/digits.onnx", samples=SAMPLES)
    assert fetchers(world)
    wants(world, storageUri="store://digits/digits.onnx")
    assert fetchers(world) == []


def test_a_new_address_ends_the_job_of_the_old_one(world: World) -> None:
    wants(world, **BUCKET)
    first = job(world)["metadata"]["name"]
    wants(world, **BUCKET | {"storageUri": "s3://models/other.onnx"})
    assert job(world)["metadata"]["name"] != first


def test_a_chart_without_such_jobs_refuses_the_address(world: World) -> None:
    world.settings = world.settings_with(fetching=Fetching(enabled=False))
    wants(world, **BUCKET)
    status, reason, message = model_ready(world)
    assert (status, reason) == ("False", "Refused")
    assert mentions("spec.model.storageUri", "store.fetching.enabled").search(message)


@pytest.mark.parametrize("service", ["digits", "edge-runtime-x", "x-runtime", "a" * 63])
def test_the_account_of_a_job_may_write_to_the_store_whatever_the_service_is_called(service: str) -> None:
    from edge_api.names import is_runtime_account
    from edge_operator.names import fetch_name

    name = fetch_name(service, ("s3://models/digits.onnx", "", "models"))
    assert not is_runtime_account(name)
    assert len(name) <= 63
