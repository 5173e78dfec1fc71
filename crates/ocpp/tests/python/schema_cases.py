"""Writes payloads with the verdicts of a reference validator, as JSON lines.

For every official schema: the smallest and the fullest valid payload, every value of every
enumeration, texts, numbers and lists at and beyond their bounds, a missing and an unknown member of
every object, and a wrong type at every place. Each payload differs from the smallest one at a single
place. The verdict is that of jsonschema, with the draft that the schema names, and lists every error's
place and kind. Formats are left out, because Wattpost has its own rules for them.

A line is [version, action, is_response, payload as text, [[path, kind], ...]]. The argument is the
largest number of payloads per schema; a seeded random draw chooses them, always the same.
"""

import copy
import importlib.util
import json
import random
import sys
from decimal import Decimal
from pathlib import Path

from jsonschema import Draft4Validator, Draft6Validator

VERSIONS = {"v16": "1.6", "v201": "2.0.1", "v21": "2.1"}

KINDS = {
    "type": "Type",
    "required": "Missing",
    "enum": "Enum",
    "maxLength": "Length",
    "minimum": "Range",
    "maximum": "Range",
    "multipleOf": "Range",
    "minItems": "Items",
    "maxItems": "Items",
    "additionalProperties": "Extra",
}

WRONG_TYPES = [
    None, True, False, 0, 1, -1, 2**31, -(2**31) - 1, 2**40, 2**63 - 1, 2**63, 2**64, 2**70, -(2**63),
    -(2**64), 0.0, 1.0, -1.0, 1.5, -0.5, 100.5, 1e-7, "", "x", "1", "1.5", "true", [], ["x"], [[]], {},
    {"x": 1}, {"vendorId": "x"},
]


class Schema:
    """One schema file."""

    def __init__(self, path):
        text = path.read_text(encoding="utf-8-sig")
        self.root = json.loads(text)
        self.definitions = self.root.get("definitions", {})
        self.draft_04 = "draft-04" in self.root["$schema"]
        # A step of 0.1 means the decimal one; in binary 0.3 would not be a multiple of it.
        self.parse_float = Decimal if '"multipleOf"' in text else float
        validator = Draft4Validator if self.draft_04 else Draft6Validator
        self.validator = validator(json.loads(text, parse_float=self.parse_float))

    def resolve(self, schema):
        while "$ref" in schema:
            schema = self.definitions[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def smallest(self, schema, full=False):
        """A valid value: with all members, or with the required ones."""
        schema = self.resolve(schema)
        kind = schema.get("type")
        if kind == "object":
            required = schema.get("required", [])
            return {
                name: self.smallest(member, full)
                for name, member in schema.get("properties", {}).items()
                if full or name in required
            }
        if kind == "array":
            return [self.smallest(schema["items"], full)] * max(1, schema.get("minItems", 1))
        if kind == "string":
            if "enum" in schema:
                return schema["enum"][0]
            if schema.get("format") == "date-time":
                return "2026-11-23T16:50:00Z"
            if schema.get("format") == "uri":
                return "ftp://files.example/logs"
            return "x"
        if kind in ("integer", "number"):
            return int(max(schema.get("minimum", 0), min(0, schema.get("maximum", 0))))
        if kind == "boolean":
            return True
        return "anything"

    def places(self, schema=None, path=()):
        """Every place in a full payload, with what the schema says there."""
        schema = self.resolve(self.root if schema is None else schema)
        yield path, schema
        for name, member in schema.get("properties", {}).items():
            yield from self.places(member, path + (name,))
        if "items" in schema:
            yield from self.places(schema["items"], path + (0,))

    def with_value(self, path, value):
        """The smallest payload that has `value` at `path`."""
        if not path:
            return value
        root = self.smallest(self.root)
        at, schema = root, self.resolve(self.root)
        for step in path[:-1]:
            schema = self.resolve(schema["items"] if step == 0 else schema["properties"][step])
            if step != 0 and step not in at:
                at[step] = self.smallest(schema)
            at[step] = copy.deepcopy(at[step])
            at = at[step]
        at[path[-1]] = value
        return root

    def cases(self):
        """A place and its value for each payload. Payloads are made for those only that are drawn."""
        yield (), self.smallest(self.root)
        yield (), self.smallest(self.root, full=True)
        for value in ([], {}, "x", 1, True, {"surplus": {"x": [1, {"y": None}]}}):
            yield (), value
        for path, schema in self.places():
            for value in self.values(schema):
                yield path, value

    def values(self, schema):
        """Valid and invalid values for one place."""
        if schema.get("type") == "object":
            value = self.smallest(schema)
            for name in value:
                yield {other: value[other] for other in value if other != name}
                yield {name: value[name]}
            yield value | {"surplus": {"x": [1, {"y": None}]}}
            yield value | {"": "x"}
        if schema.get("type") == "array":
            item = self.smallest(schema["items"])
            for count in {0, 1, schema.get("minItems", 0) - 1, schema.get("minItems", 0)}:
                yield [item] * max(0, count)
            if "maxItems" in schema:
                yield [item] * schema["maxItems"]
                yield [item] * (schema["maxItems"] + 1)
            else:
                yield [item] * 50
        if "enum" in schema:
            yield from schema["enum"]
            yield from ("", "Other?", schema["enum"][0].swapcase(), schema["enum"][0] + " ")
        elif schema.get("type") == "string":
            count = schema.get("maxLength", 3000)
            for letter in "x", "é", "\U0001f50c", '"':
                yield letter * count
                yield letter * (count + 1)
        if schema.get("type") in ("integer", "number"):
            for bound in schema.get("minimum", 0), schema.get("maximum", 100):
                for step in -1, -0.1, 0, 0.1, 1:
                    yield bound + step
            yield from (0.1, 0.3, 0.7, -0.7, 16.1, 0.25, 16.05, 123456.7, 1e16, 3)
        yield from WRONG_TYPES

    def errors(self, payload):
        errors = set()
        wrong_types = set()
        for error in self.validator.iter_errors(json.loads(payload, parse_float=self.parse_float)):
            path = "".join(f"/{step}" for step in error.absolute_path)
            if error.validator == "type":
                wrong_types.add(path)
            errors.add((path, KINDS[error.validator]))
        # A value of the wrong type has no other error.
        return sorted(e for e in errors if e[0] not in wrong_types or e[1] == "Type")


def main():
    cases_max = int(sys.argv[1])
    package = Path(importlib.util.find_spec("ocpp").submodule_search_locations[0])
    for folder, version in VERSIONS.items():
        for file in sorted((package / folder / "schemas").glob("*.json")):
            name = file.stem
            is_response = name.endswith("Response")
            action = name.removesuffix("Response").removesuffix("Request")
            schema = Schema(file)
            escapes = len(name) % 2 == 0
            smallest, fullest, *others = schema.cases()
            random.Random(f"{version} {name}").shuffle(others)
            seen = set()
            for path, value in [smallest, fullest, *others]:
                payload = json.dumps(schema.with_value(path, value), ensure_ascii=escapes)
                if payload in seen:
                    continue
                if len(seen) == cases_max:
                    break
                seen.add(payload)
                line = [version, action, is_response, payload, schema.errors(payload)]
                sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
