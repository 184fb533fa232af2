"""random/* and tls/*: real values, made once and kept, as their providers do in the state."""

import base64
import datetime as dt
import hashlib
import ipaddress
import json
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from trackstack.embedded.record import Registered, Secret
from trackstack.embedded.standins.base import Host, Plan, known

_RANDOM = {
    "random:index/randomPassword:RandomPassword",
    "random:index/randomString:RandomString",
    "random:index/randomBytes:RandomBytes",
    "random:index/randomId:RandomId",
    "random:index/randomUuid:RandomUuid",
}
_KEY = "tls:index/privateKey:PrivateKey"
_CERTIFICATE = "tls:index/selfSignedCert:SelfSignedCert"


class KeptValues:
    """Values that come from chance: the same on every evaluation, new when an input changes."""

    types = (*sorted(_RANDOM), _KEY, _CERTIFICATE)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """The kept value's outputs; none in a preview of a stack that was never up."""
        inputs = {key: known(registered, key) for key in sorted(registered.inputs)}
        mark = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
        make = _MAKERS[registered.type]
        text = host.secret(
            f"values/{registered.name}/{registered.type.rpartition(':')[2]}-{mark}",
            lambda: json.dumps(make(inputs)),
        )
        if text is None:
            return {}
        made: dict[str, str] = json.loads(text)
        hidden = _HIDDEN.get(registered.type, ())
        return {key: Secret(value) if key in hidden else value for key, value in made.items()}

    def plan(self, plan: Plan) -> None:
        """Nothing runs for a value."""


_HIDDEN = {
    "random:index/randomPassword:RandomPassword": ("result",),
    "random:index/randomBytes:RandomBytes": ("base64", "hex"),
    _KEY: ("privateKeyPem", "privateKeyPemPkcs8"),
}


def _characters(inputs: Mapping[str, Any]) -> str:
    special = inputs.get("overrideSpecial") or "!@#$%&*()-_=+[]{}<>:?"
    pools = {
        "Upper": string.ascii_uppercase,
        "Lower": string.ascii_lowercase,
        "Numeric": string.digits,
        "Special": special,
    }
    used = {name: pool for name, pool in pools.items() if inputs.get(name.lower()) is not False}
    wanted = [
        secrets.choice(pool)
        for name, pool in used.items()
        for _ in range(int(inputs.get(f"min{name}") or 0))
    ]
    every = "".join(used.values())
    wanted += [secrets.choice(every) for _ in range(int(inputs["length"]) - len(wanted))]
    secrets.SystemRandom().shuffle(wanted)
    return "".join(wanted)


def _bytes(inputs: Mapping[str, Any]) -> dict[str, str]:
    raw = secrets.token_bytes(int(inputs.get("length") or inputs["byteLength"]))
    url = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    text = base64.b64encode(raw).decode()
    prefix = inputs.get("prefix") or ""
    return {
        "base64": text,
        "b64Std": prefix + text,
        "b64Url": prefix + url,
        "hex": prefix + raw.hex(),
        "dec": prefix + str(int.from_bytes(raw, "big")),
    }


def _private_key(inputs: Mapping[str, Any]) -> dict[str, str]:
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if inputs.get("algorithm") == "ECDSA":
        curves: dict[str, ec.EllipticCurve] = {
            "P224": ec.SECP224R1(),
            "P256": ec.SECP256R1(),
            "P384": ec.SECP384R1(),
            "P521": ec.SECP521R1(),
        }
        key = ec.generate_private_key(curves[inputs.get("ecdsaCurve") or "P224"])
    else:
        key = rsa.generate_private_key(65537, int(inputs.get("rsaBits") or 2048))
    none = serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    formats = serialization.PrivateFormat
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    return {
        "privateKeyPem": key.private_bytes(pem, formats.TraditionalOpenSSL, none).decode(),
        "privateKeyPemPkcs8": key.private_bytes(pem, formats.PKCS8, none).decode(),
        "publicKeyPem": public.decode(),
    }


def _self_signed(inputs: Mapping[str, Any]) -> dict[str, str]:
    key = serialization.load_pem_private_key(str(inputs["privateKeyPem"]).encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("a certificate is signed by an ECDSA or RSA key")  # tls has no other
    subject = inputs.get("subject") or {}
    common = str(subject.get("commonName") or "localhost")[:64]  # X.520's upper bound
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = dt.datetime.now(dt.UTC)
    end = now + dt.timedelta(hours=int(inputs["validityPeriodHours"]))
    names: list[x509.GeneralName] = [x509.DNSName(d) for d in inputs.get("dnsNames") or []]
    names += [
        x509.IPAddress(ipaddress.ip_address(address)) for address in inputs.get("ipAddresses") or []
    ]
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(end)
    builder = builder.add_extension(
        x509.BasicConstraints(bool(inputs.get("isCaCertificate")), None), critical=True
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    made = builder.sign(key, hashes.SHA256())
    return {
        "certPem": made.public_bytes(serialization.Encoding.PEM).decode(),
        "validityStartTime": now.isoformat(),
        "validityEndTime": end.isoformat(),
    }


_MAKERS: dict[str, Callable[[Mapping[str, Any]], dict[str, str]]] = {
    "random:index/randomPassword:RandomPassword": lambda i: {"result": _characters(i)},
    "random:index/randomString:RandomString": lambda i: {"result": _characters(i)},
    "random:index/randomBytes:RandomBytes": _bytes,
    "random:index/randomId:RandomId": _bytes,
    "random:index/randomUuid:RandomUuid": lambda _: {"result": str(uuid.uuid4())},
    _KEY: _private_key,
    _CERTIFICATE: _self_signed,
}
