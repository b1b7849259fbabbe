"""The `ghostpen` command: parses, loads the config, calls one function per verb.

Owns the names of verbs and options. Must not decide anything else. Whatever loads torch, Unsloth, pydantic, boto3 or
matplotlib is imported inside the verb that needs it, so that `--help` stays fast.
"""

from ghostpen.cli.front import OneLineErrors, app

# In the order of use, which is that of `ghostpen --help`.
from ghostpen.cli import local, trained, brief, storage, interview, deployment, doctor  # isort: skip

__all__ = ["OneLineErrors", "app", "brief", "deployment", "doctor", "interview", "local", "storage", "trained"]
