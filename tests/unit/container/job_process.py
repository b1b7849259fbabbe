"""Does a job in a process of its own, so that it can be sent signals: a job, a script, how often a call of S3 is
tried, and for how long at the end, pickled, in hex."""

import os
import pickle
import sys

from tests.unit.container.conftest import build_script

from ghostpen.aws.s3 import ObjectStore, make_client, parse_location
from ghostpen.container.run import run_job
from ghostpen.container.signals import EndOnSignal
from ghostpen.errors import GhostpenError

job, script, attempts, upload_timeout_s = pickle.loads(bytes.fromhex(sys.argv[1]))
store = ObjectStore(make_client(attempts=attempts), parse_location(job.uri))
try:
    with EndOnSignal(grace_s=job.config.storage.grace_s) as signals:
        run_job(
            job,
            store=store,
            heartbeat_store=store,
            signals=signals,
            environ=os.environ,
            build=lambda job, *, role: build_script(job, role, script),
            upload_timeout_s=upload_timeout_s,
        )
except GhostpenError as error:
    print(f"error: {error.message}", file=sys.stderr)
    sys.exit(error.exit_code)
