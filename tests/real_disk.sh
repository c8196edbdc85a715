#!/usr/bin/env bash
# Power cuts on real file systems: a log under Always on ext4 and on XFS, each on a loop device, is
# written by a process of its own while the file system is shut down under it (an ioctl that drops
# everything not yet on the device). Then it is mounted again, and everything acknowledged must be
# there.
#
#   tests/real_disk.sh [CUTS]     cuts on each file system, 20 where nothing is said
#
# Needs root, loop devices, python3, mkfs.ext4 and mkfs.xfs; what is missing is said and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
cuts=${1:-20}
scratch=$(mktemp -d)
mount=$scratch/mount
mkdir "$mount"

finish() {
    umount "$mount" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

skip() {
    echo "real disk: SKIPPED $1: $2"
}

if [ "$(id -u)" != 0 ] || ! command -v python3 >/dev/null; then
    skip "everything" "needs root and python3"
    exit 0
fi
binary=$(cargo test --test kill --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p' | tail -1)

# Shuts the mounted file system down: nothing more reaches the device, the journal neither.
cut_power() {
    python3 -c '
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))' "$mount"
}

# run TEST TASK: the test program of the kills, as a child or to look at what is left.
run() {
    OTTLA_KILL_DIR=$mount/log OTTLA_KILL_TASK=$2 "$binary" --exact "$1" --nocapture
}

# one_cut TASK: writes, cuts the power, mounts again, looks. What is held against it was said before
# the cut: the ioctl is no power switch, and a sync that it meets half-way may answer success.
one_cut() {
    local task=$1 lines=$((RANDOM % 40 + 1)) what number acknowledged=0 before child
    rm -f "$scratch/said"
    mkfifo "$scratch/said"
    run log::append_until_killed "$task" >/dev/null 2>"$scratch/said" &
    child=$!
    exec 3<"$scratch/said"
    while [ "$lines" -gt 0 ] && read -r -u 3 what number; do
        acknowledged=$number
        lines=$((lines - 1))
    done
    before=$acknowledged
    cut_power
    # It ends by itself, for every call fails now, or it is ended.
    kill -9 "$child" 2>/dev/null || true
    while read -r -u 3 what number; do
        if [ "$what" = a ]; then
            acknowledged=$number
        fi
    done
    exec 3<&-
    wait "$child" 2>/dev/null || true
    umount "$mount"
    mount -o loop "$image" "$mount"
    run log::look_after_a_power_cut "$task:$before" | grep acknowledged
}

for fs in ext4 xfs; do
    image=$scratch/$fs.img
    if ! command -v "mkfs.$fs" >/dev/null; then
        skip "$fs" "there is no mkfs.$fs"
        continue
    fi
    truncate -s 400M "$image"
    "mkfs.$fs" -q "$image"
    if ! mount -o loop "$image" "$mount" 2>/dev/null; then
        skip "$fs" "cannot be mounted on a loop device here"
        continue
    fi
    for number in $(seq "$cuts"); do
        # Under Always, in both ways of writing, batches of all sizes but the largest.
        one_cut $((6 + number % 2 + number % 3 * 8))
        rm -rf "$mount/log"
    done
    umount "$mount"
    echo "real disk: $cuts power cuts on $fs, nothing acknowledged was lost"
done
