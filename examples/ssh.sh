#!/usr/bin/env bash
#
# Starts a run on several hosts by ssh. The first host leads; its progress is
# shown here. What the others print goes to <host>.log in this folder.
#
#   examples/ssh.sh a,b,c --agent=disdain --env=grid:disdain_release \
#     --num_actors=4 --num_learners=1 --num_replay_shards=1 \
#     --num_inference_servers=0 --num_evaluators=1 \
#     --output_dir=/shared/runs/x
#
# Each host has this clone, with its .venv, in the same folder as here, and lets
# you in by key. Ctrl-C goes to the first host, which stops them all.
set -euo pipefail

if (($# < 2)) || [[ "$1" == -* ]]; then
  echo "usage: $0 HOST,HOST,... --FLAG=VALUE ..." >&2
  exit 2
fi
list="$1"
shift
IFS=, read -ra hosts <<<"$list"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# The command for one host, quoted for the shell there.
command_for() {
  local index="$1"
  shift
  printf 'cd %q && exec ' "$root"
  printf '%q ' .venv/bin/python -m launch.run_distributed \
    --hosts="$list" --host_index="$index" "$@"
}

others=()
for ((index = 1; index < ${#hosts[@]}; index++)); do
  host="${hosts[index]}"
  ssh -n -o BatchMode=yes "$host" "$(command_for "$index" "$@")" \
    >"$host.log" 2>&1 &
  others+=("$!")
done

status=0
# With a terminal, so that Ctrl-C reaches the program.
ssh -t "${hosts[0]}" "$(command_for 0 "$@")" || status=$?
for process in ${others[@]+"${others[@]}"}; do
  wait "$process" || status=$?
done
exit "$status"
