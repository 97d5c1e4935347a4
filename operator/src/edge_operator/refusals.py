"""What the API server's refusals mean: whether a retry alone can help, and what to do. Pure."""

import re

_TOO_LARGE = ("request is too large", "entity too large", "larger than max")
_WEBHOOK_AWAY = "failed calling webhook"
_NO_PERMISSION = "is forbidden: user"
_REMEDIES = {
    "raise the ResourceQuota that it names, or delete what counts against it": ("exceeded quota",),
    "use a model with fewer exits and cuts, or fewer nodes": _TOO_LARGE,
    "the namespace is being deleted: create the service in another one": ("being terminated",),
    "bring back the server of the webhook, or delete its configuration": (_WEBHOOK_AWAY,),
    "change the webhook or the policy that it names": ("denied the request", "denied request"),
    "set the namespace's label pod-security.kubernetes.io/enforce so that it allows them": ("podsecurity",),
    "grant the permission, e.g. by installing the chart's roles": (_NO_PERMISSION,),
}
"""What to do, by what the API server says."""
_PODS = re.compile(r'^pods "[^"]*"')


def lasting(said: str) -> bool:
    """Whether an internal error of the API server is a refusal: a retry alone does not help."""
    text = said.lower()
    return any(words in text for words in (_WEBHOOK_AWAY, *_TOO_LARGE))


def no_permission(said: str) -> bool:
    """Whether the account lacks a permission. Quotas and policies also forbid, with the same status."""
    return _NO_PERMISSION in said.lower()


def remedied(said: str) -> str:
    """Returns what the API server said, with what to do about it as far as that is known."""
    text = said.lower()
    fix = next((fix for fix, signs in _REMEDIES.items() if any(sign in text for sign in signs)), "")
    return f"{said.rstrip('.')}: {fix}" if fix else said


def without_pod_names(said: str) -> str:
    """Returns the message without the random name of a pod, which differs in each attempt."""
    return _PODS.sub("its pods", said)
