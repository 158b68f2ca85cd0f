# usage: greet.sh GREETING [--shout] NAME...
greeting=$1
shift
if [ "${1-}" = --shout ]; then
  shift
  greeting=${greeting^^}
fi
for name in "$@"; do
  printf '%s, %s\n' "$greeting" "$name"
done
printf '{"name": "greeted", "value": %d}\n' "$#" >>"${MLRUN_METRICS:-/dev/null}"
