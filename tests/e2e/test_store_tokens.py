"""The model store on the cluster serves the holders of tokens, each what its namespace registered."""

import json
import subprocess
import sys

from demo.installation import NAMESPACE, STORE_AUDIENCE, authority
from trials import Trial

STATUS = """
import json, ssl, sys, urllib.error, urllib.request
given = json.load(sys.stdin)
token, context = given["token"], ssl.create_default_context(cadata=given["authority"])
context.check_hostname = False  # reached by the address of the Service
request = urllib.request.Request(sys.argv[1], headers={"Authorization": f"Bearer {token}"} if token else {})
try:
    print(urllib.request.urlopen(request, timeout=30, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def token(trial: Trial, namespace: str, account: str, *flags: str) -> str:
    return trial.cluster.kubectl("create", "token", account, "-n", namespace, *flags).strip()


def status(trial: Trial, path: str, shown: str = "") -> int:
    """Status of a GET at the model store with a token."""
    store = trial.cluster.reach(NAMESPACE, "model-store")
    argv = [*store.prefix, sys.executable, "-c", STATUS, f"https://{store.host}:{store.http}{path}"]
    given = json.dumps({"token": shown, "authority": authority(trial.cluster)})
    return int(subprocess.run(argv, input=given, capture_output=True, text=True, check=True).stdout)


def test_a_slice_is_read_with_a_token_of_a_namespace_that_registered_its_model(trial: Trial) -> None:
    placement = trial.get("placement", "digits.edge-a")
    digest = placement["spec"]["routes"][0]["stages"][0]["slice"]["digest"]
    account = trial.get("deployment", "edge-runtime-edge-a")["spec"]["template"]["spec"]["serviceAccountName"]
    audience = ("--audience", STORE_AUDIENCE)
    blob = f"/v1/blobs/{digest}"
    assert status(trial, blob, token(trial, "default", account, *audience)) == 200
    assert status(trial, blob) == 401
    assert status(trial, blob, token(trial, "default", account)) == 401  # for the API server
    assert status(trial, blob, token(trial, "kube-public", "default", *audience)) == 404
    assert status(trial, "/v1/health/ready") == 200
