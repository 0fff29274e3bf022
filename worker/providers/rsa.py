"""RSA as Baofu uses it: SHA256withRSA, PKCS#1 v1.5, in hex; keys as merchants get them."""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

_PEM: Final = b"-----BEGIN "
#: What the library raises for bytes that are no key, and for a password that does not fit.
_UNREADABLE: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def rsa_sign(key: RSAPrivateKey, data: bytes) -> str:
    """The signature in lower-case hex."""
    return key.sign(data, PKCS1v15(), SHA256()).hex()


def rsa_matches(key: RSAPublicKey, data: bytes, signature: str) -> bool:
    """Whether a signature, in hex of either case, is the key's over exactly these bytes."""
    try:
        key.verify(bytes.fromhex(signature), data, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def load_private_key(data: bytes, password: str | None) -> RSAPrivateKey:
    """The merchant's key: PEM, or a PFX.

    Raises:
        ValueError: what is wrong, without a word of the key.
    """
    secret = None if password is None else password.encode()
    try:
        key = _pem_key(data, secret) if _PEM in data else load_key_and_certificates(data, secret)[0]
    except _UNREADABLE:
        raise ValueError("is neither a PEM key nor a PFX that private_key_password opens") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("holds no RSA key")
    return key


def load_public_key(data: bytes) -> RSAPublicKey:
    """The provider's key: a PEM key, or a certificate as PEM or CER (DER).

    Raises:
        ValueError: what is wrong.
    """
    try:
        key = _pem_public_key(data) if _PEM in data else _der_public_key(data)
    except _UNREADABLE:
        raise ValueError("is neither a PEM key nor a PEM or CER certificate") from None
    if not isinstance(key, RSAPublicKey):
        raise ValueError("holds no RSA key")
    return key


def _pem_key(data: bytes, secret: bytes | None) -> object:
    return load_pem_private_key(data, secret)


def _pem_public_key(data: bytes) -> object:
    if _PEM + b"CERTIFICATE" in data:
        return load_pem_x509_certificate(data).public_key()
    return load_pem_public_key(data)


def _der_public_key(data: bytes) -> object:
    try:
        return load_der_x509_certificate(data).public_key()
    except ValueError:
        return load_der_public_key(data)
