#!/bin/bash
# Activates the environment, then becomes the command, so that signals reach it.
set -e -o pipefail
[ "$(id -u)" = 0 ] || export USER="${USER:-$MAMBA_USER}"
[ "$HOME" != / ] || export HOME="/home/$MAMBA_USER"
# shellcheck source=tests/stand_ins/micromamba/files/_activate_current_env.sh
. /usr/local/bin/_activate_current_env.sh
exec "$@"
