"""Serves moto's AWS KMS on the port of the first argument, and prints keys and credentials as JSON.

moto checks the signatures of requests with botocore. It ignores MessageType, and would hash a digest
once more, so keys here sign digests.
"""

import json
import logging
import sys
import threading

import boto3
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from moto import settings
from moto.kms import utils as kms
from moto.server import ThreadedMotoServer

HASHES = {"SHA_256": hashes.SHA256(), "SHA_384": hashes.SHA384()}


def prehashed(algorithm):
    return utils.Prehashed(next(it for name, it in HASHES.items() if algorithm.endswith(name)))


kms.ECDSAPrivateKey.sign = lambda key, digest, algorithm: key.private_key.sign(
    digest, ec.ECDSA(prehashed(algorithm))
)
kms.RSAPrivateKey.sign = lambda key, digest, algorithm: key.private_key.sign(
    digest, padding.PKCS1v15(), prehashed(algorithm)
)

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
server.start()


def client(service):
    return boto3.client(
        service,
        region_name="eu-central-1",
        endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )


def key(spec, usage="SIGN_VERIFY"):
    made = client("kms").create_key(KeySpec=spec, KeyUsage=usage)
    return made["KeyMetadata"]["Arn"]


iam = client("iam")
iam.create_user(UserName="signer")
policy = {"Effect": "Allow", "Action": ["kms:Sign", "kms:GetPublicKey"], "Resource": "*"}
policy = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
iam.put_user_policy(UserName="signer", PolicyName="sign", PolicyDocument=policy)
access = iam.create_access_key(UserName="signer")["AccessKey"]
made = {
    "id": access["AccessKeyId"],
    "secret": access["SecretAccessKey"],
    "p256": key("ECC_NIST_P256"),
    "p384": key("ECC_NIST_P384"),
    "rsa": key("RSA_3072"),
    "p521": key("ECC_NIST_P521"),
}
client("kms").create_alias(AliasName="alias/release", TargetKeyId=made["p256"])
# From here on, every request needs a signature.
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
print(json.dumps(made), flush=True)
threading.Event().wait()
