"""Signs with the libraries of Google and Azure, at the addresses and with the credentials in the
JSON of standard input, and verifies each signature with the public key there.
"""

import hashlib
import json
import sys

from azure.identity import ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from google.auth import identity_pool
from google.cloud import kms_v1

MESSAGE = b"a message"
DIGEST = hashlib.sha256(MESSAGE).digest()


def castagnoli(data):
    """Returns CRC32C, by which Google protects requests and answers."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def verify(public, signature):
    key = serialization.load_pem_public_key(public.encode())
    key.verify(signature, MESSAGE, ec.ECDSA(hashes.SHA256()))


def sign_at_google(url, file, key, public):
    scopes = ["https://www.googleapis.com/auth/cloudkms"]
    credentials = identity_pool.Credentials.from_file(file, scopes=scopes)
    client = kms_v1.KeyManagementServiceClient(
        credentials=credentials, transport="rest", client_options={"api_endpoint": url.rstrip("/")}
    )
    parent = key.rsplit("/cryptoKeyVersions/", 1)[0]
    versions = client.list_crypto_key_versions({"parent": parent, "filter": "state=ENABLED"})
    numbers = [int(version.name.rsplit("/", 1)[1]) for version in versions]
    assert sorted(numbers) == [2, 9, 10], numbers
    answer = client.get_public_key({"name": key})
    assert answer.pem == public and answer.name == key, answer
    assert answer.pem_crc32c == castagnoli(public.encode()), answer
    assert answer.algorithm.name == "EC_SIGN_P256_SHA256", answer
    request = {"name": key, "digest": {"sha256": DIGEST}, "digest_crc32c": castagnoli(DIGEST)}
    answer = client.asymmetric_sign(request)
    assert answer.verified_digest_crc32c and answer.name == key, answer
    assert answer.signature_crc32c == castagnoli(answer.signature), answer
    verify(public, answer.signature)


def sign_at_azure(url, login, authority, tenant, client, secret, public):
    credential = ClientSecretCredential(
        tenant,
        client,
        secret,
        authority=login,
        disable_instance_discovery=True,
        connection_verify=authority,
    )
    options = {
        "credential": credential,
        "api_version": "7.4",
        "verify_challenge_resource": False,
        "connection_verify": authority,
    }
    key = KeyClient(url, **options).get_key("images")
    assert key.properties.enabled and "sign" in key.key_operations, key
    answer = CryptographyClient(key, **options).sign(SignatureAlgorithm.es256, DIGEST)
    assert answer.key_id == key.id, answer
    r, s = (int.from_bytes(it, "big") for it in (answer.signature[:32], answer.signature[32:]))
    verify(public, utils.encode_dss_signature(r, s))


settings = json.load(sys.stdin)
sign_at_google(**settings["google"])
sign_at_azure(**settings["azure"])
