"""Triton's model control is closed to everyone but the operator."""

import json

from trials import Trial

ADDRESS = "triton.triton.svc.cluster.local:8000"
TRY_TO_LOAD = f"""
import json, urllib.error, urllib.request
found = []
for headers in ({{}}, {{"edge-model-control": "guessed"}}):
    for path in ("index", "models/digits/load", "models/digits/unload"):
        url = "http://{ADDRESS}/v2/repository/" + path
        request = urllib.request.Request(url, data=b"{{}}", headers=headers, method="POST")
        try:
            found.append(urllib.request.urlopen(request, timeout=10).status)
        except urllib.error.HTTPError as error:
            found.append(error.code)
print(json.dumps(found))
"""


def test_a_tenants_pod_cannot_load_a_model_and_the_operator_can(trial: Trial) -> None:
    pods = trial.cluster.kubectl("get", "deployments", "-n", "default", "-o", "name").split()
    said = trial.cluster.kubectl("exec", "-n", "default", pods[0], "--", "python3", "-c", TRY_TO_LOAD)
    assert json.loads(said.splitlines()[-1]) == [403] * 6
    conditions = trial.get("devicepool", "factory")["status"]["conditions"]
    control = next(each for each in conditions if each["type"] == "ControlOpen")
    assert (control["status"], control["reason"]) == ("False", "ControlNeedsKey")
    for protocol in ("HTTP", "gRPC"):
        assert f"model control over {protocol} requires a key at cloud" in control["message"]
    assert trial.triton_models(), "the operator has loaded its tails"
