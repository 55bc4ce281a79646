"""A file against the published schema of its kind; each fault is printed with its place.

    schema.py KIND FILE
"""

import json
import sys
from importlib.metadata import distribution

import yaml
from jsonschema.validators import validator_for
from referencing import Registry, Resource

# The packages carry the schemas of others; nothing else of them is used.
VENDORED = ("check-jsonschema", "check_jsonschema/builtin_schemas/vendor/{}.json")
CYCLONEDX = ("cyclonedx-python-lib", "cyclonedx/schema/_res/{}.SNAPSHOT.schema.json")
KINDS = {
    "compose": (VENDORED, "compose-spec"),
    "github": (VENDORED, "github-workflows"),
    "github-issue": (VENDORED, "github-issue-forms"),
    "github-issue-config": (VENDORED, "github-issue-config"),
    "gitlab": (VENDORED, "gitlab-ci"),
    "sbom": (CYCLONEDX, "bom-1.5"),
}


def load(source, name):
    package, pattern = source
    with open(distribution(package).locate_file(pattern.format(name)), encoding="utf-8") as file:
        return json.load(file)


def sibling(uri):
    """The schema that the one of an SBOM names beside itself."""
    return Resource.from_contents(load(CYCLONEDX, uri.rsplit("/", 1)[-1].removesuffix(".schema.json")))


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML 1.2, as the platforms read it: `on` is a text."""


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not (tag == "tag:yaml.org,2002:bool" and letter in "yYnNoO")]
    for letter, resolvers in Loader.yaml_implicit_resolvers.items()
}

kind, path = sys.argv[1:]
schema = load(*KINDS[kind])
with open(path, encoding="utf-8") as file:
    content = yaml.load(file, Loader=Loader)
validator = validator_for(schema)
validator.check_schema(schema)
faults = sorted(validator(schema, registry=Registry(retrieve=sibling)).iter_errors(content), key=lambda fault: list(map(str, fault.path)))
for fault in faults:
    print(f"FAIL  {path}: {'.'.join(map(str, fault.path))}: {fault.message[:300]}")
if not faults:
    print(f"ok    {path} is valid")
sys.exit(bool(faults))
