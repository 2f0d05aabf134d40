"""What the API server would say of an object: the schemas of each Kubernetes, and of the operators' CRDs."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
from conftest import Object

from techshop import crds

_DATA = files("kubernetes_validate") / "kubernetes-json-schema"


def problems(item: Object, kube: str) -> list[str]:
    """Return what is wrong with an object, one sentence each; unknown fields are errors."""
    errors = _validator(kube, item["apiVersion"], item["kind"]).iter_errors(item)
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


@cache
def _validator(kube: str, api_version: str, kind: str) -> Any:
    definitions = _definitions(kube)
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in definitions["$defs"].items():
        if wanted in schema.get("x-kubernetes-group-version-kind", []):
            registry = jsonschema_rs.Registry([(definitions["$id"], definitions)])
            return jsonschema_rs.validator_for({"$ref": f"{definitions['$id']}#/$defs/{name}"}, registry=registry)
    custom = crds.schemas()
    if (api_version, kind) not in custom:
        raise LookupError(f"Kubernetes {kube} has no {kind} of {api_version}, and no CRD in crds.toml makes one")
    return jsonschema_rs.validator_for(custom[api_version, kind])


@cache
def _definitions(kube: str) -> dict[str, Any]:
    definitions: dict[str, Any] = json.loads((_DATA / f"v{kube}.0-local-strict" / "_definitions.json").read_text())
    return definitions
