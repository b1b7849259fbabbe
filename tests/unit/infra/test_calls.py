"""The table of calls against the programs: what they make is what the policies are tested for.

`unit/aws/test_deployment.py` holds the deployment's own calls against `rights.DEPLOY_ACTIONS`, all of them and no
other; the instance's script and container are refused whatever is not in `rights.INSTANCE_ACTIONS`.
"""

from tests.deploying import Account
from tests.stand_ins.aws.faults import CallFault, InstanceFault, Meddling, MeddlingFault, Refused
from tests.stand_ins.aws.rights import DEPLOY_ACTIONS, INSTANCE_ACTIONS
from tests.unit.infra.calls import CALLS, operations_of

# What no program of ours asks for, and no simulated account answers.
BY_THE_AGENT = ("ec2messages:", "ssmmessages:", "ssm:UpdateInstanceInformation")
BY_DOCKER = {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}
BESIDE_AN_UPLOAD = {"s3:PutObjectTagging"}
# Reads that only `ghostpen pull` and `run` make, with the right that GetObject needs.
NOT_BY_THE_DEPLOYMENT = {"s3.HeadObject"}


def list_actions(role: str) -> set[str]:
    return {call.action for call in CALLS if call.role == role}


def test_deploy_role_s_table_has_the_actions_of_the_deployment_and_no_other() -> None:
    assert list_actions("deploy") == DEPLOY_ACTIONS


def test_instance_role_s_table_has_the_actions_of_script_and_container_and_no_other() -> None:
    others = {action for action in list_actions("instance") if action.startswith(BY_THE_AGENT)}
    assert list_actions("instance") - others - BY_DOCKER - BESIDE_AN_UPLOAD == INSTANCE_ACTIONS


def test_deployment_makes_every_operation_of_its_table_and_no_other() -> None:
    busy = Refused("ThrottlingException")
    made: set[str] = set()
    for faults in (
        [],
        [MeddlingFault(Meddling.PROTECT, 600.0), InstanceFault((("ends_itself", False),))],  # ended by its id
        [CallFault("ssm:GetCommandInvocation", busy, times=10_000)],  # the command is cancelled
    ):
        account = Account(*faults)
        account.deploy()
        made |= {f"{r.service}.{r.operation}" for r in account.simulator.requests if r.caller == "job"}

    allowed = {operation.replace("servicequotas.", "service-quotas.") for operation in operations_of("deploy")}
    assert made == allowed - NOT_BY_THE_DEPLOYMENT - {"sts.AssumeRoleWithWebIdentity"}
