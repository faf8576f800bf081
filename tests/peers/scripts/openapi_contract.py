"""Compares what haldane has answered with what it says it answers.

    openapi_contract.py DESCRIPTION EXCHANGES

EXCHANGES has a line of JSON for each exchange: method, path, token, request, status, type, etag,
answer. Prints what is wrong, one line each, and at last what of the description was seen.
"""

import json
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate as validate_description

description = json.load(open(sys.argv[1]))
wrong = []
seen = {"operations": set(), "kinds": set(), "strayed": 0}


def resolved(node):
    """What a reference within the description stands for."""
    while "$ref" in node:
        target = description
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def validator(schema):
    whole = {**schema, "components": description["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def operation_of(method, path):
    """The most exact operation for a path, and its path in the description."""
    bare = path.split("?")[0]
    for template in sorted(description["paths"], key=lambda one: one.count("{")):
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, bare):
            found = description["paths"][template].get(method.lower())
            return (found, template) if found else (None, template)
    return None, bare


def strayed(value):
    """The value, with one field more in one of its objects; once for each."""
    if isinstance(value, dict):
        yield {**value, "a field that nobody knows": 1}
        for key, inner in value.items():
            for changed in strayed(inner):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            for changed in strayed(inner):
                yield [*value[:index], changed, *value[index + 1 :]]


def kinds_in(value):
    if isinstance(value, dict):
        if isinstance(value.get("kind"), str):
            yield value["kind"]
        for inner in value.values():
            yield from kinds_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from kinds_in(inner)


def compare(where, schema, value):
    """Whether a value is as described, and would not be with anything more in it."""
    own = validator(schema)
    error = next(own.iter_errors(value), None)
    if error:
        deepest = error
        while deepest.context:
            deepest = max(deepest.context, key=lambda one: len(one.absolute_path))
        path = "/".join(map(str, deepest.absolute_path))
        wrong.append(f"{where}: /{path}: {deepest.message[:300]}")
        return
    seen["kinds"].update(kinds_in(value))
    for changed in strayed(value):
        seen["strayed"] += 1
        if own.is_valid(changed):
            wrong.append(f"{where}: a field more is not noticed: {json.dumps(changed)[:300]}")
            return


def compare_stream(where, text):
    """Server-sent events, the last of which may be cut off."""
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        if "data" not in fields:
            continue
        name = {"happened": "Event", "status": "RoutesStatus"}[fields["event"]]
        compare(f"{where} {name}", {"$ref": f"#/components/schemas/{name}"}, json.loads(fields["data"]))
        seen["operations"].add(f"{where} {name}")


def compare_exchange(exchange):
    status, content_type = str(exchange["status"]), exchange["type"].split(";")[0]
    operation, template = operation_of(exchange["method"], exchange["path"])
    where = f"{exchange['method']} {template} {status}"
    if operation is None and status in ("404", "405"):
        # Not described, and refused as such: a problem all the same.
        compare(where, {"$ref": "#/components/schemas/Problem"}, json.loads(exchange["answer"]))
        return
    if operation is None or status not in operation["responses"]:
        wrong.append(f"{where}: not described: {exchange['answer'][:300]}")
        return
    response = resolved(operation["responses"][status])
    for name, header in response.get("headers", {}).items():
        if name == "ETag":
            compare(where, resolved(header)["schema"], exchange["etag"])
    if content_type not in response["content"]:
        wrong.append(f"{where}: {content_type} is not described")
        return
    seen["operations"].add(where)
    if "security" in operation and status == "200" and exchange["request"] is not None:
        types = operation["requestBody"]["content"]
        body = json.loads(exchange["request"])
        own = validator(types["application/json"]["schema"])
        wrong.extend(f"{where}: accepts {error.message[:200]}" for error in own.iter_errors(body))
    schema = response["content"][content_type]["schema"]
    if content_type == "text/event-stream":
        compare_stream(where, exchange["answer"])
    elif template == "/openapi.json":
        if json.loads(exchange["answer"]) != description:
            wrong.append(f"{where}: it is another one")
    elif content_type.endswith("json"):
        compare(where, schema, json.loads(exchange["answer"]))


validate_description(description)
for name, schema in description["components"]["schemas"].items():
    for example in schema.get("examples", []):
        wrong.extend(f"example of {name}: {error.message}" for error in validator(schema).iter_errors(example))
for line in open(sys.argv[2]):
    compare_exchange(json.loads(line))

expected = {
    f"{method.upper()} {path} 200"
    for path, item in description["paths"].items()
    for method in item
    if method != "parameters"
}
wrong.extend(f"{operation}: not seen" for operation in sorted(expected - seen["operations"]))
for line in wrong:
    print(line, file=sys.stderr)
print(json.dumps({"operations": sorted(seen["operations"]), "kinds": sorted(seen["kinds"]), "strayed": seen["strayed"]}))
sys.exit(bool(wrong))
