#!/bin/sh
# sh fuzz/guided.sh TARGET SECONDS [libFuzzer's options]: fuzz/guided.py on the modules that `make fuzz-guided` built.
# Starts from the kept corpus and from what it learnt before. PYTHONMALLOC lets ASan see each block for itself.
set -eu
target=$1 seconds=$2
shift 2
mkdir -p "build/fuzz/corpus/$target" build/fuzz/found
log=build/fuzz/$target.log
runtime=$(.venv-fuzz/bin/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so
env -u AIOREST_WS_NO_EXTENSIONS LD_PRELOAD="$runtime" PYTHONMALLOC=malloc PYTHONSAFEPATH=1 \
    PYTHONPATH=build/fuzz/lib:. AIOREST_WS_REQUIRE_EXTENSIONS=1 ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 \
    .venv-fuzz/bin/python fuzz/guided.py "$target" -max_total_time="$seconds" -max_len=512 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/found/$target-" "$@" \
    "build/fuzz/corpus/$target" "fuzz/corpus/$target" > "$log" 2>&1 || {
    tail -n 60 "$log"
    echo "$target: stopped by a fault, see build/fuzz/found; what it ended with is in $log" >&2
    exit 1
}
awk -v target="$target" '
    /executed_units/ { runs = $2 }
    /exec_per_sec/ { rate = $2 }
    END { printf "%-9s %10d executions guided by coverage, %d a second, no fault\n", target, runs, rate }' "$log"
