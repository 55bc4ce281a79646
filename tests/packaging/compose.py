"""A Compose file against the schema of the Compose specification; each fault is told with its place."""

import json
import sys
from importlib.metadata import distribution

import yaml
from jsonschema.validators import validator_for

package = distribution("check-jsonschema")
with open(package.locate_file("check_jsonschema/builtin_schemas/vendor/compose-spec.json"), encoding="utf-8") as file:
    schema = json.load(file)
with open(sys.argv[1], encoding="utf-8") as file:
    content = yaml.safe_load(file)
kind = validator_for(schema)
kind.check_schema(schema)
faults = sorted(kind(schema).iter_errors(content), key=lambda fault: list(map(str, fault.path)))
for fault in faults:
    print(f"FAIL  {sys.argv[1]}: {'.'.join(map(str, fault.path))}: {fault.message}")
if not faults:
    print(f"ok    {sys.argv[1]} is valid")
sys.exit(bool(faults))
