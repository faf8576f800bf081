"""Asks haldane whatever its description allows, and some of what it does not.

    openapi_fuzz.py URL TOKEN EXAMPLES ROUTE SIGNAL

Every operation gets so many requests that are as described, and as many that are not. No answer
may be a failure of haldane, and each must be as described. Prints the number of requests by
operation and status.
"""

import collections
import json
import sys

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

url, token, examples = sys.argv[1], sys.argv[2], int(sys.argv[3])
# What is there; three of four requests are about that.
KNOWN = {"route": sys.argv[4], "name": sys.argv[5]}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]
NEVER_ENDS = "/v1/stream"

schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
seen = collections.Counter()
failed = []


def asks(operation, mode):
    label = f"{operation.method.upper()} {operation.path}"
    bearer = {"Authorization": f"Bearer {token}"} if operation.definition.raw.get("security") else {}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        # Nothing happens for half a minute where nothing happens.
        if case.query and "wait" in case.query:
            case.query["wait"] = 0 if mode == GenerationMode.POSITIVE else "-1"
        if mode == GenerationMode.POSITIVE and seen.total() % 4:
            case.path_parameters.update({name: KNOWN[name] for name in case.path_parameters})
        response = case.call(base_url=url, headers=bearer, timeout=40)
        seen[f"{label} {response.status_code}"] += 1
        case.validate_response(response, checks=CHECKS, headers=bearer)

    try:
        ask()
    except Unsatisfiable:
        assert mode == GenerationMode.NEGATIVE, f"{label} cannot be asked"
    except Exception as error:  # Whatever it is, the other operations are asked too.
        failed.append(f"{label}, {mode.value}: {error}")


for result in schema.get_all_operations():
    operation = result.ok()
    if operation.path == NEVER_ENDS:
        continue
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        asks(operation, mode)

assert requests.get(f"{url}/livez", timeout=10).status_code == 200
for failure in failed:
    print(failure, file=sys.stderr)
print(json.dumps(seen))
sys.exit(bool(failed))
