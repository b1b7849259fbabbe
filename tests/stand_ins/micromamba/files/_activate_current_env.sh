# shellcheck shell=bash
# Sourced: activates the environment that ENV_NAME names.
eval "$("$MAMBA_EXE" shell hook --shell=bash)"
[ "${MAMBA_SKIP_ACTIVATE:-0}" = 1 ] || micromamba activate "${ENV_NAME:-base}"
