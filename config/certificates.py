"""The demo's own certificate authority and the one server certificate that it signed."""

import dataclasses
import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.installation import write_private

HOST_NAMES = ("localhost", "mail.yourdomain.com", "smtp.partnerdomain.com")
ADDRESSES = ("127.0.0.1", "::1")
# The authority's key is thrown away after the one signature, so nothing can be renewed.
LIFETIME = datetime.timedelta(days=3650)


@dataclasses.dataclass(frozen=True)
class Certificates:
    """`authority` is what a client trusts; `bundle` is that and the system's own authorities."""

    authority: Path
    bundle: Path
    server: Path
    server_key: Path


def keep_certificates(folder: Path) -> Certificates:
    """The folder's certificates, made on first use; the bundle follows the system each time."""
    folder.mkdir(mode=0o700, exist_ok=True)
    files = Certificates(*(folder / f"{name}.pem" for name in ("ca", "bundle", "server", "key")))
    # Written last: without it the others may stem from a start that was killed.
    if not files.authority.exists():
        authority, server, key = _issue()
        write_private(files.server_key, key)
        write_private(files.server, server + authority)
        write_private(files.authority, authority)
    write_private(files.bundle, files.authority.read_text() + _system_authorities())
    return files


def _system_authorities() -> str:
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in trusted)


def _issue() -> tuple[str, str, str]:
    """Authority, server certificate and its key, as PEM."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = _name("Outgate demo authority")
    authority = (
        _builder(authority_name, authority_name, authority_key, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in HOST_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    server = (
        _builder(_name(HOST_NAMES[0]), authority_name, server_key, authority_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return _pem(authority), _pem(server), _key_pem(server_key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Another machine's clock, or a virtual one just woken, may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
