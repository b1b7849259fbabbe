"""One program under the names of what `run.sh` calls on a GPU instance: docker, aws, nvidia-smi, systemd-run, curl...

Called as `python instance_command.py NAME ARGUMENT...` with $WORLD, a folder:

    plan.json    what the machine does: see `DEFAULTS`; a test may change it meanwhile
    calls.jsonl  every call, as it was made; a value on stdin under "stdin"
    s3/          what was written to S3
    container    how often somebody has looked at the container, and whether it was told to stop
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

WORLD = Path(os.environ["WORLD"])
DEFAULTS = {
    "gpu": "NVIDIA L4, 580.95, 23034 MiB, 0 MiB",  # None: nvidia-smi fails
    "cuda": True,  # inside the image; "deaf": the check hangs, and SIGTERM does not end it
    "pull": True,  # "held": goes on when there is a file `released`
    "image_there": False,
    "login": True,
    "secrets": {},  # name -> value, as Parameter Store has them
    "run": True,  # docker run starts a container
    "looks": 2,  # until the container has ended by itself; None: never
    "exit_code": 0,
    "stopped_code": 143,  # after docker stop
    "oom": False,
    "docker_answers": True,
    "silent_end_looks": 0,  # so often docker does not say how the container ended
    "spot_notice_after": None,  # looks at the metadata
    "terminate": ["ok"],  # each try's answer: "ok", "minimum" or "refused"; the last stays
    "s3_writes": True,  # "held": goes on when there is a file `released`
    "unit_active": False,
    "systemd": True,
    "log": "step 1\nstep 2\n",
}


def read_plan():
    return DEFAULTS | json.loads((WORLD / "plan.json").read_text())


def record(name, arguments, stdin=None):
    with (WORLD / "calls.jsonl").open("a") as file:
        file.write(json.dumps({"name": name, "arguments": arguments, "stdin": stdin}) + "\n")


def count(name):
    path = WORLD / name
    number = int(path.read_text()) + 1 if path.exists() else 1
    path.write_text(str(number))
    return number


def docker(plan, arguments):
    container = WORLD / "container"
    match arguments:
        case ["image", "inspect", *_]:
            return 0 if plan["image_there"] else 1
        case ["login", *_]:
            return 0 if sys.stdin.read() == "password" and plan["login"] else 1
        case ["pull", *_]:
            while plan["pull"] == "held" and not (WORLD / "released").exists():
                time.sleep(0.02)
            return 0 if plan["pull"] else 1
        case ["run", "--rm", *_] if plan["cuda"] == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        case ["run", "--rm", *_]:
            print(json.dumps({"cuda": plan["cuda"]}))
            return 0 if plan["cuda"] else 1
        case ["run", "--detach", *_]:
            env_file = Path(arguments[arguments.index("--env-file") + 1])
            (WORLD / "container_env").write_text(env_file.read_text())
            (WORLD / "env_mode").write_text(oct(env_file.stat().st_mode & 0o777))
            if not plan["run"]:
                return 125
            container.write_text("0")
            return 0
        case ["rm", "--force", _]:
            return 0
        case ["stop", *_]:
            (WORLD / "stopped").touch()
            return 0
        case ["logs", *_]:
            print(plan["log"], end="")
            return 0
        case ["inspect", "--format", wanted, _]:
            if not container.exists() or not plan["docker_answers"]:
                return 1
            stopped = (WORLD / "stopped").exists()
            if "ExitCode" in wanted and count("end_looks") <= plan["silent_end_looks"]:
                return 1
            looks = count("container") if wanted == "{{.State.Status}}" else int(container.read_text())
            ended = stopped or (plan["looks"] is not None and looks >= plan["looks"])
            code = plan["stopped_code"] if stopped else plan["exit_code"]
            answers = {
                "{{.State.Status}}": "exited" if ended else "running",
                "{{.State.Running}}": "false" if ended else "true",
                "{{.State.ExitCode}} {{.State.OOMKilled}}": f"{code} {str(plan['oom']).lower()}",
            }
            print(answers[wanted])
            return 0
    raise SystemExit(f"the stand-in has no docker {arguments}")


def aws(plan, arguments):
    match arguments:
        case ["s3", "cp", *_, "-", uri]:
            while plan["s3_writes"] == "held" and not (WORLD / "released").exists():
                time.sleep(0.02)
            if not plan["s3_writes"]:
                return 1
            path = WORLD / "s3" / uri.removeprefix("s3://")
            path.parent.mkdir(parents=True, exist_ok=True)
            number = count("written")
            content = sys.stdin.read()
            path.write_text(content)
            path.with_name(f"{path.name}.{number}").write_text(content)
            return 0
        case ["ecr", "get-login-password", *_]:
            print("password", end="")
            return 0
        case ["ssm", "get-parameters-by-path", *_]:
            path = arguments[arguments.index("--path") + 1]
            for name, value in plan["secrets"].items():
                print(f"{path}/{name}\t{value}")
            return 0
        case ["ssm", "delete-parameters", *_]:
            return 0
        case ["autoscaling", "terminate-instance-in-auto-scaling-group", *_]:
            number = count("terminations")
            answer = plan["terminate"][min(number, len(plan["terminate"])) - 1]
            if answer == "minimum" and "--should-decrement-desired-capacity" in arguments:
                print(
                    "An error occurred (ValidationError) when calling the TerminateInstanceInAutoScalingGroup "
                    "operation: Currently, desiredSize equals minSize (0). Terminating instance without replacement "
                    "will violate group's min size constraint.",
                    file=sys.stderr,
                )
                return 254
            if answer == "refused":
                print("An error occurred (AccessDenied)", file=sys.stderr)
                return 254
            return 0
    raise SystemExit(f"the stand-in has no aws {arguments}")


def curl(plan, arguments):
    url = arguments[-1]
    if url.endswith("/api/token"):
        print("token")
        return 0
    assert "X-aws-ec2-metadata-token: token" in arguments
    if url.endswith("/spot/instance-action"):
        after = plan["spot_notice_after"]
        return 0 if after is not None and count("spot") > after else 22
    print({"instance-type": "g6.2xlarge", "availability-zone": "eu-central-1b"}[url.rpartition("/")[2]], end="")
    return 0


def main():
    name, *arguments = sys.argv[1:]
    record(name, arguments)
    plan = read_plan()
    match name:
        case "docker":
            return docker(plan, arguments)
        case "aws":
            return aws(plan, arguments)
        case "curl":
            return curl(plan, arguments)
        case "nvidia-smi":
            print(plan["gpu"] or "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver")
            return 0 if plan["gpu"] else 9
        case "systemctl":
            return 0 if plan["unit_active"] else 3
        case "systemd-run":
            return 0 if plan["systemd"] else 1
        case "sleep":
            time.sleep(0.02)
            return 0
        case "shutdown":
            return 0
    raise SystemExit(f"the stand-in has no {name}")


sys.exit(main())
