"""Names that resolve to what is closed, alone, mixed or from one moment to the next.

Real look-ups at a real name server, in a network of its own (a Linux namespace), where a public
address leads to the partner and the closed ones to a listener that must never be connected to.
"""

import json
import os
import subprocess
import sys

import pytest

from sendas.models import SendAs
from tests.processes import CHECKOUT
from tests.submission.bent_names import BENT
from tests.submission.conftest import apply_policy, set_gateway

NAMESPACE = ["unshare", "--net", "--mount", *(["--map-root-user"] if os.geteuid() else [])]

pytestmark = pytest.mark.slow


@pytest.fixture
def own_network() -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a network of his own (unshare)")


def test_a_bent_name_leads_nowhere(own_network, post_office, owner, app_password):
    send_as = SendAs.objects.create(
        user=owner, send_as_email="user.name@partnerdomain.com", verification_status="accepted"
    )
    set_gateway(
        send_as, post_office, "secret", host="smtp.partnerdomain.com", port=465,
        security_mode="ssl",
    )  # fmt: skip
    apply_policy(owner, allowed=True, version=1)
    kept = {
        name: value for name, value in post_office.environment.items()
        if not name.startswith(("OUTGATE_EGRESS", "OUTGATE_SUBMISSION"))
    }  # fmt: skip
    certificates = post_office.certificate[0].parent
    program = [sys.executable, "-m", "tests.submission.bent_names"]
    done = subprocess.run(
        [*NAMESPACE, *program, owner.primary_address, app_password, str(certificates)],
        cwd=CHECKOUT, env=kept, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["canary"] == 0
    refused = dict.fromkeys(BENT, "NAME")
    # The test looks twice, to know our own servers: from one look to the next the name was bent.
    assert said["tests"] == refused | {"public": "passed", "rebound": "NAME"}
    assert said["messages"] == dict.fromkeys(BENT, 451) | {"public": 250, "rebound": 250}
