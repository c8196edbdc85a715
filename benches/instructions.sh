#!/usr/bin/env bash
# Counts the instructions of the hot paths with callgrind and holds them against what is kept.
#
#   benches/instructions.sh           checks; fails when a path takes more than it may
#   benches/instructions.sh --keep    writes what is counted now to benches/instructions.txt
#
# Each path runs twice, with two counts of rounds: the difference is what the rounds cost, and what
# opening, filling and closing cost cancels out. Instructions of the kernel are not counted.
set -euo pipefail
cd "$(dirname "$0")/.."

kept=benches/instructions.txt
few=1000
many=2000
# Compilers and standard libraries differ a little; a lost inlining or an allocation is far more.
tolerance_percent=8

program=$(cargo bench --no-run --bench instructions --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"instructions".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The C library copies large blocks by one instruction on some processors, and callgrind counts it
# once a byte. Without it a count does not depend on the processor.
export GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff

count() {
    TMPDIR=$scratch valgrind --tool=callgrind --callgrind-out-file="$scratch/out" "$program" "$1" "$2" \
        2>"$scratch/log" >/dev/null || { cat "$scratch/log" >&2; exit 1; }
    sed -n 's/^\(summary\|totals\): //p' "$scratch/out" | head -n 1
}

failed=0
now=""
while read -r path records; do
    less=$(count "$path" "$few")
    more=$(count "$path" "$many")
    each=$(awk "BEGIN { printf \"%.1f\", ($more - $less) / ($many - $few) / $records }")
    now+="$path $each"$'\n'
    was=$(awk -v path="$path" '$1 == path { print $2 }' "$kept" 2>/dev/null || true)
    verdict=$(awk -v is="$each" -v was="$was" -v most="$tolerance_percent" 'BEGIN {
        if (was == "") print "new"
        else if (is > was * (1 + most / 100)) print "TOO MANY"
        else if (is < was * (1 - most / 100)) print "fewer: keep it"
        else print "ok"
    }')
    printf '%-16s %10s instructions a record, kept %10s  %s\n' "$path" "$each" "${was:--}" "$verdict"
    [ "$verdict" != "TOO MANY" ] || failed=1
done < <("$program")

if [ "${1:-}" = --keep ]; then
    {
        echo "# Instructions a record, by benches/instructions.sh --keep. $(rustc --version)"
        printf '%s' "$now"
    } >"$kept"
    exit 0
fi
exit "$failed"
