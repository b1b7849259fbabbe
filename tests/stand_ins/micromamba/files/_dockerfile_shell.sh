#!/bin/bash
# The SHELL of the image: a RUN is in the environment only where MAMBA_DOCKERFILE_ACTIVATE is 1.
set -e -o pipefail
# shellcheck source=tests/stand_ins/micromamba/files/_activate_current_env.sh
[ "${MAMBA_DOCKERFILE_ACTIVATE:-0}" != 1 ] || . /usr/local/bin/_activate_current_env.sh
exec bash -o pipefail -c "$*"
