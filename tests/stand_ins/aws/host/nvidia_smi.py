"""nvidia-smi of a machine without a GPU: one line, or what the plan says."""

import time

from machine import PLAN, fail, note_call

note_call("nvidia-smi")
if PLAN["smoke"] == "nvidia-smi does not return":
    time.sleep(86400)
if PLAN["smoke"] == "nvidia-smi fails":
    fail("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9)
print("NVIDIA L40S (stand-in), 595.10, 46068 MiB, 1 MiB")
