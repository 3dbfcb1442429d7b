"""Validates the documents beside an image by programs that others wrote.

usage: validate.py DIRECTORY [VEX...]. The directory holds sbom.spdx.json, sbom.cdx.json and
provenance.json. A file in its place is a provenance alone. Prints what is wrong, and ends with 1 if anything is. The packages, with their
schemas: requirements.txt.
"""

import json
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1 import statement_pb2
from ntia_conformance_checker import SbomChecker
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from vexipy import Document


def spdx(path):
    """The official tools of SPDX: grammar, references and rules of version 2.3."""
    for message in validate_full_spdx_document(parse_file(str(path))):
        yield message.validation_message


def minimum_elements(path):
    """The minimum elements that the United States' NTIA asks for."""
    checker = SbomChecker(str(path), compliance="ntia")
    if not checker.compliant:
        yield "not the minimum elements of NTIA"
        checker.print_table_output()
    # The checker passes over elements to which no relation leads. Only compilers are outside of the
    # image.
    for element in sorted(checker.floating_component_ids):
        if not element.startswith("SPDXRef-tool-"):
            yield f"no relation leads to {element}"


def cyclonedx(path):
    """The schema of CycloneDX 1.6, in which unknown fields are errors."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text())
    if error:
        yield str(error)


def provenance(path):
    """in-toto's and SLSA's own message definitions: an unknown field is an error."""
    document = json.loads(path.read_text())
    predicate = document["predicate"]
    statement = Statement([], "", {})
    statement.pb = json_format.ParseDict(document, statement_pb2.Statement())
    statement.validate()
    message = json_format.ParseDict(predicate, provenance_pb2.Provenance())
    for dependency in message.build_definition.resolved_dependencies:
        if not (dependency.name or dependency.uri) or not dependency.digest and not dependency.uri.startswith("pkg:"):
            yield f"an input without name or digest: {dependency}"
    if document["predicateType"] != "https://slsa.dev/provenance/v1":
        yield f"predicate type {document['predicateType']}"


def openvex(path):
    """The model of OpenVEX. It passes over unknown fields, so they are what is missing in its copy."""
    text = path.read_text()
    document = json.loads(text)
    copy = json.loads(Document.model_validate_json(text).model_dump_json(by_alias=True, exclude_none=True))
    for statement, copied in zip(document["statements"], copy["statements"]):
        for name in statement.keys() - copied.keys():
            yield f"unknown field {name}"
        if copied["status"] != statement["status"]:
            yield f"status {statement['status']} is read as {copied['status']}"
    for name in document.keys() - copy.keys():
        yield f"unknown field {name}"


def main(directory, vex):
    checks = [
        (spdx, directory / "sbom.spdx.json"),
        (minimum_elements, directory / "sbom.spdx.json"),
        (cyclonedx, directory / "sbom.cdx.json"),
        (provenance, directory / "provenance.json"),
    ]
    if directory.is_file():
        checks = [(provenance, directory)]
    problems = 0
    for check, path in checks + [(openvex, path) for path in vex]:
        for problem in check(path):
            problems += 1
            print(f"{path.name}: {check.__name__}: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(path) for path in sys.argv[2:]]))
