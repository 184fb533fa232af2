"""Types that answer with the right shape and run nothing: certificates, zones, logs, images."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from trackstack.embedded import answers
from trackstack.embedded.record import Registered
from trackstack.embedded.standins.base import Host, Plan, known

CERTIFICATE = "aws:acm/certificate:Certificate"
VALIDATION = "aws:acm/certificateValidation:CertificateValidation"
RECORD = "aws:route53/record:Record"
ZONE = "aws:route53/zone:Zone"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
IMAGE = "docker-build:index:Image"


class Shapes:
    """Answers without a process behind them."""

    types = (CERTIFICATE, VALIDATION, RECORD, ZONE, LOG_GROUP, IMAGE)

    def answer(self, registered: Registered, host: Host) -> Mapping[str, Any]:
        """What a program reads of these types."""
        del host
        if registered.type == CERTIFICATE:
            domain = str(known(registered, "domainName", "imported"))
            mark = answers.digits(registered.urn, 32)
            return {
                "domainName": domain,
                "status": "ISSUED",
                "domainValidationOptions": [
                    {
                        "domainName": domain,
                        "resourceRecordName": f"_{mark}.{domain}.",
                        "resourceRecordType": "CNAME",
                        "resourceRecordValue": f"_{mark}.acm-validations.aws.",
                    }
                ],
            }
        if registered.type == IMAGE:
            # Built nowhere: processes here run in an environment made from the image's lock.
            tags = known(registered, "tags", [])
            made = json.dumps([registered.urn, tags, known(registered, "platforms", [])])
            digest = f"sha256:{hashlib.sha256(made.encode()).hexdigest()}"
            return {"digest": digest, "ref": f"{tags[0]}@{digest}" if tags else digest}
        if registered.type == RECORD:
            return {"fqdn": str(known(registered, "name", ""))}
        if registered.type == ZONE:
            zone = "Z" + answers.digits(registered.urn, 20).upper()
            return {"zoneId": zone, "nameServers": [f"ns-{n}.awsdns-00.example" for n in range(4)]}
        return {}

    def plan(self, plan: Plan) -> None:
        """Nothing runs."""
