import json

import jsonschema
import yaml

from adapters.modbus import spec
from gateway.app import adapters
from gateway.settings.editor_schema import schemas, written
from gateway.settings.example import example_configuration
from tests.settings.folder import Folder


def test_the_written_schemas_are_those_of_the_models(folder: Folder) -> None:
    """Pins config/schema against drift; `smp-gateway schema --write config/schema` mends it."""
    profile = folder.load().environments["test"].profile
    for name, schema in schemas(adapters(), profile).items():
        file = example_configuration() / "schema" / f"{name}.json"
        assert file.read_text("utf-8") == written(schema), f"{file.name} is not up to date"


def test_the_site_schema_joins_generic_and_protocol_members(folder: Folder) -> None:
    """Pins that an editor knows a Modbus point's own members beside those of every point, and the profile's assets."""
    schema = schemas({"modbus": spec}, folder.load().environments["test"].profile)["site"]
    point = schema["properties"]["points"]["additionalProperties"]
    assert {"connection", "scale", "address", "type"} <= set(point["properties"])
    assert {"connection", "address"} <= set(point["required"])
    assert "Battery" in json.dumps(schema["properties"]["messages"])


def test_the_tests_beside_a_site_have_a_schema_of_their_own(folder: Folder) -> None:
    """Pins that an editor takes the example's tests, and marks a misspelt member of one."""
    schema = schemas({"modbus": spec}, folder.load().environments["test"].profile)["site-test"]
    told = jsonschema.Draft202012Validator(schema)
    example = yaml.safe_load((folder.path / "sites" / "hams-bess.test.yaml").read_text("utf-8"))
    assert list(told.iter_errors(example)) == []
    example["tests"][0]["expects"] = example["tests"][0].pop("expect")
    assert [error.validator for error in told.iter_errors(example)] == ["additionalProperties"]
