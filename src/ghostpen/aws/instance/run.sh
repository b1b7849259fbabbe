#!/usr/bin/env bash
# What a GPU instance does for one run. SSM brings a command that fetches this file and its settings and calls
#
#   run.sh smoke SETTINGS INSTANCE_ID   can the GPU compute, inside the image? in the foreground
#   run.sh start SETTINGS INSTANCE_ID   leave `run.sh run` behind as a unit of its own, once
#   run.sh run   SETTINGS INSTANCE_ID   the container, from its start to its end; then the instance is given back
#   run.sh end   SETTINGS INSTANCE_ID   give the instance back: what the timers call
#
# Whatever happens in `run`, its last act is to end this instance and lower the group's desired capacity with it.
# Secrets go from Parameter Store into a file in memory and into the container; into no command line and no log.
# Settings, status.json and exit codes are those of src/ghostpen/aws/handover.py: change both together.
set -Eeuo pipefail
umask 077

ACTION=${1:?smoke, start, run or end} SETTINGS=${2:?the file of settings} INSTANCE_ID=${3:?the id of this instance}
FOLDER=$(dirname "$SETTINGS")                         # on the disk: this file, the settings, marks
MEMORY=${RUNTIME_DIRECTORY:-/run/ghostpen}            # in memory: what must not outlive the machine
IMDS=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
export HOME=${HOME:-/root} DOCKER_CONFIG=$MEMORY/docker AWS_MAX_ATTEMPTS=5 AWS_RETRY_MODE=standard
readonly EXIT_SMOKE=22 EXIT_PULL=23 EXIT_START=32     # as in ghostpen/errors.py
readonly LOOK_S=5 SILENT_LOOKS=24                     # docker may be silent for two minutes
readonly SPOT_GRACE_S=105                             # of the 120 that a notice leaves; as in aws/handover.py

phase='' reason='' exit_code='' oom_killed=false times='' last_lines='' secret_values=()

timeout() { command timeout --kill-after 5 "$@"; } # what ignores SIGTERM ends all the same

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }

read_settings() {
  local name value
  while IFS='=' read -r name value; do
    case $name in
      HANDOVER_ID | RUN_ID | MODE | CONTROL | REGION | REGISTRY | IMAGE | STORAGE_URI | CONFIG_URI | STATUS_URI | \
        LOG_GROUP | SECRETS_PATH | SECRET_NAMES | NEED_GB | MAX_RUNTIME_S | GRACE_S | TIMER_S | SMOKE_S | SMOKE_TIMER_S)
        printf -v "$name" '%s' "$value" ;;
      *) say "$SETTINGS: $name is not a setting of this script" && return "$EXIT_START" ;;
    esac
  done <"$SETTINGS"
  : "${RUN_ID:?}" "${REGION:?}" "${IMAGE:?}" "${STATUS_URI:?}" "${MAX_RUNTIME_S:?}" "${GRACE_S:?}" "${TIMER_S:?}"
  CONTAINER=ghostpen-$RUN_ID
}

# --- the instance's own end ------------------------------------------------------------------------------------

let_go() { # the group must not replace it, so desired capacity goes down with it
  local try answer
  for try in 1 2 3 4 5 6 7 8; do
    if answer=$(ask_for_end --should-decrement-desired-capacity); then
      say "the group ends this instance" && return
    fi
    say "$answer"
    # Desired capacity is at its minimum already: then nothing is replaced, and AWS refuses to lower it.
    if [[ $answer == *'equals minSize'* ]] && answer=$(ask_for_end --no-should-decrement-desired-capacity); then
      say "the group ends this instance; desired capacity was 0" && return
    fi
    sleep $((try * 5))
  done
  say "the group can't be told; shutting down, which may bring another instance until the scheduled action"
  shutdown -P now || systemctl poweroff --force
}

ask_for_end() {
  timeout 60 aws autoscaling terminate-instance-in-auto-scaling-group --region "$REGION" \
    --instance-id "$INSTANCE_ID" "$1" 2>&1
}

arm_timer() { # NAME SECONDS: end this instance then, whatever has become of everything else
  [[ -e $FOLDER/timer-$1 ]] && return
  systemd-run --unit="end-instance-$1" --on-active="${2}s" --timer-property=AccuracySec=1s \
    bash "$FOLDER/run.sh" end "$SETTINGS" "$INSTANCE_ID" || return "$EXIT_START"
  touch "$FOLDER/timer-$1"
}

# --- what people and the deployment see ------------------------------------------------------------------------

json_text() { # TEXT
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\t'/ }
  printf '"%s"' "${text//[[:cntrl:]]/}"
}

put_status() { # PHASE; failing to tell must not stop the run
  local line lines='' comma=''
  phase=$1
  times+=${times:+,}"\"$phase\":$(date +%s)"
  while IFS= read -r line; do
    [[ -z $line ]] && continue
    lines+=$comma$(json_text "$line") comma=,
  done <<<"$last_lines"
  printf '{"handover_id":"%s","instance_id":"%s","phase":"%s","reason":"%s","container_exit_code":%s,"oom_killed":%s,"image":"%s","type":"%s","zone":"%s","times":{%s},"last_log_lines":[%s]}\n' \
    "$HANDOVER_ID" "$INSTANCE_ID" "$phase" "$reason" "${exit_code:-null}" "$oom_killed" "$IMAGE" \
    "${TYPE:-}" "${ZONE:-}" "$times" "$lines" |
    timeout 120 aws s3 cp --only-show-errors --region "$REGION" --content-type application/json - "$STATUS_URI" ||
    say "status.json could not be written: $phase $reason"
}

read_last_lines() {
  local value
  last_lines=$(timeout 30 docker logs --tail 40 "$CONTAINER" 2>&1 | tail -c 6000) || last_lines=${last_lines:-}
  for value in "${secret_values[@]}"; do last_lines=${last_lines//"$value"/***}; done
}

imds() { # PATH
  local token
  token=$(curl -sf --max-time 2 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 120' "${IMDS%/}/latest/api/token") &&
    curl -sf --max-time 2 -H "X-aws-ec2-metadata-token: $token" "${IMDS%/}/latest/meta-data/$1"
}

# --- image and secrets -----------------------------------------------------------------------------------------

pull_image() {
  timeout 30 docker image inspect --format '{{.Id}}' "$IMAGE" >/dev/null 2>&1 && return
  mkdir -p "$DOCKER_CONFIG"
  timeout 60 aws ecr get-login-password --region "$REGION" |
    timeout 60 docker login --username AWS --password-stdin "$REGISTRY" >/dev/null || return "$EXIT_PULL"
  timeout "$SMOKE_S" docker pull --quiet "$IMAGE" || return "$EXIT_PULL"
}

fetch_secrets() { # into a file in memory, for docker to read
  local name value found=' '
  mkdir -p "$MEMORY"
  : >"$MEMORY/env"
  [[ -z $SECRET_NAMES ]] && return
  while IFS=$'\t' read -r name value; do
    [[ -z $name ]] && continue
    printf '%s=%s\n' "${name##*/}" "$value" >>"$MEMORY/env"
    secret_values+=("$value")
    found+="${name##*/} "
  done < <(timeout 120 aws ssm get-parameters-by-path --region "$REGION" --path "$SECRETS_PATH" --with-decryption \
    --query 'Parameters[].[Name,Value]' --output text)
  for name in $SECRET_NAMES; do
    [[ $found == *" $name "* ]] || { say "the secret $SECRETS_PATH/$name is not there" && return "$EXIT_START"; }
  done
}

forget_secrets() {
  local names=() name
  rm -f "$MEMORY/env"
  for name in $SECRET_NAMES; do names+=("$SECRETS_PATH/$name"); done
  while ((${#names[@]})); do # ten names are what it takes at once
    timeout 120 aws ssm delete-parameters --region "$REGION" --names "${names[@]:0:10}" >/dev/null ||
      say "the secrets could not be deleted; they end by themselves"
    names=("${names[@]:10}")
  done
}

# --- smoke -----------------------------------------------------------------------------------------------------

smoke() {
  arm_timer smoke "$SMOKE_TIMER_S"
  say "the GPU, from the host"
  timeout 60 nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used --format=csv,noheader ||
    return "$EXIT_SMOKE"
  say "the image $IMAGE"
  pull_image || return "$EXIT_PULL"
  say "the GPU, from inside the image"
  # --init: SIGTERM would not end a Python that is the container's first process.
  timeout "$((SMOKE_S < 300 ? SMOKE_S : 300))" docker run --rm --init --name "$CONTAINER-check" --gpus all \
    --entrypoint /usr/local/bin/_entrypoint.sh "$IMAGE" \
    python -m ghostpen.model.gpu_check --need-gb "$NEED_GB" && return
  timeout 60 docker rm --force "$CONTAINER-check" >/dev/null 2>&1 || true
  return "$EXIT_SMOKE"
}

# --- run -------------------------------------------------------------------------------------------------------

start() { # a unit's name is taken once, so a second command of the same kind starts nothing
  if was_started; then
    say "the run was started before" && return
  fi
  arm_timer run "$TIMER_S"
  # mixed: SIGTERM to this script alone, which stops the container itself. After: at a shutdown docker and the network
  # wait for it.
  systemd-run --unit="ghostpen-$RUN_ID" --property=KillMode=mixed --property=TimeoutStopSec="$((GRACE_S + 60))s" \
    --property=After=docker.service --property=After=network-online.target \
    bash "$FOLDER/run.sh" run "$SETTINGS" "$INSTANCE_ID" || was_started || return "$EXIT_START"
}

was_started() { [[ -e $FOLDER/started ]] || systemctl is-active --quiet "ghostpen-$RUN_ID"; }

run() {
  trap 'reason=${reason:-stopped}' TERM INT HUP
  trap finish EXIT
  touch "$FOLDER/started"
  TYPE=$(imds instance-type || true) ZONE=$(imds placement/availability-zone || true)
  put_status starting
  put_status pulling
  pull_image || { reason=${reason:-image-pull-failed} && return "$EXIT_PULL"; }
  fetch_secrets || { reason=${reason:-start-failed} && return "$EXIT_START"; }
  [[ -z $reason ]] || return 0
  local options=()
  [[ $CONTROL == yes ]] || options=(--no-control)
  # Non-blocking: a log group that does not answer must not hold the training up.
  timeout 300 docker run --detach --init --name "$CONTAINER" --gpus all --ipc=host --ulimit memlock=-1 \
    --ulimit stack=67108864 --env-file "$MEMORY/env" --env AWS_REGION="$REGION" --env AWS_DEFAULT_REGION="$REGION" \
    --env GHOSTPEN_IMAGE="$IMAGE" --env GHOSTPEN_SECRETS_NAMES="$SECRET_NAMES" \
    --log-driver awslogs --log-opt awslogs-region="$REGION" --log-opt awslogs-group="$LOG_GROUP" \
    --log-opt awslogs-stream="$RUN_ID/$INSTANCE_ID" --log-opt mode=non-blocking --log-opt max-buffer-size=16m \
    "$IMAGE" run --mode "$MODE" --config "$CONFIG_URI" --run-id "$RUN_ID" --set "storage.uri=$STORAGE_URI" \
    "${options[@]}" >/dev/null || { reason=${reason:-start-failed} && return "$EXIT_START"; }
  forget_secrets
  put_status running
  watch_container
}

watch_container() { # until it ends by itself, has to be stopped, or docker says nothing any more
  local silent=0 status started=$SECONDS
  while :; do
    if status=$(timeout 30 docker inspect --format '{{.State.Status}}' "$CONTAINER" 2>/dev/null); then
      silent=0
      case $status in exited | dead) break ;; esac
    elif ((++silent >= SILENT_LOOKS)); then
      say "docker does not answer" && reason=${reason:-container-failed} && return
    fi
    ((SECONDS - started < MAX_RUNTIME_S)) || reason=${reason:-max-runtime}
    ! imds spot/instance-action >/dev/null || reason=${reason:-spot-interruption}
    if [[ -n $reason ]]; then
      stop_container
      break
    fi
    sleep "$LOOK_S" & # so that a signal is seen at once
    wait $! || true
  done
  read_end
}

stop_container() {
  local grace=$GRACE_S stopper
  # Of the two minutes that a spot notice leaves, a part is over when it is seen, and docker takes one.
  [[ $reason != spot-interruption ]] || ((grace < SPOT_GRACE_S)) || grace=$SPOT_GRACE_S
  { timeout "$((grace + 30))" docker stop -t "$grace" "$CONTAINER" >/dev/null || say "docker stop failed"; } &
  stopper=$!
  put_status stopping # meanwhile: S3 may take as long to answer as is left
  while kill -0 "$stopper" 2>/dev/null; do wait "$stopper" || true; done # a signal ends a wait
}

read_end() { # a container that left well has done its work, also one that was asked to stop meanwhile
  local end=''
  for _ in 1 2 3; do
    end=$(timeout 30 docker inspect --format '{{.State.ExitCode}} {{.State.OOMKilled}}' "$CONTAINER") && break
    sleep "$LOOK_S"
  done
  [[ -n $end ]] || { say "docker does not say how it ended" && reason=${reason:-container-failed} && return; }
  exit_code=${end% *} oom_killed=${end#* }
  if ((exit_code == 0)); then
    reason=completed
  elif [[ -z $reason ]]; then
    # 137: killed, and not by this script. The kernel does not tell docker of every process that it kills for memory.
    if [[ $oom_killed == true ]] || ((exit_code == 137)); then reason=out-of-memory; else reason=container-failed; fi
  fi
}

finish() { # the one way out of `run`
  trap '' TERM INT HUP
  set +e
  reason=${reason:-start-failed}
  if [[ $(timeout 30 docker inspect --format '{{.State.Running}}' "$CONTAINER" 2>/dev/null) == true ]]; then
    stop_container
  fi
  read_last_lines
  forget_secrets
  put_status ended
  let_go
}

end() { # whoever should have ended this instance has not
  set +e
  reason=max-runtime
  read_last_lines
  put_status ended
  let_go
}

read_settings
case $ACTION in
  smoke | start | run | end) "$ACTION" ;;
  *) say "there is no $ACTION" && exit "$EXIT_START" ;;
esac
