#!/usr/bin/env bash
# Cuts the power of real file systems under a writing log: ext4 and XFS on loop devices, by their
# shutdown call, which drops everything that was not synced. Says so where that is not allowed.
#
#   tests/real_disks.sh               20 cuts on each
#   OTTLA_PROOF=ci tests/real_disks.sh   100 cuts on each
#
# Then it fills a small btrfs, on which overwriting needs space, too.
#
# Needs root, loop devices, python3 (for the call), mkfs.ext4,
# mkfs.xfs and mkfs.btrfs. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "power cuts: SKIPPED: needs root for loop devices"
    exit 0
fi

scratch=$(mktemp -d)
finish() {
    umount "$scratch"/* 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT

# EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are the same call; 2 drops the journal, too.
cat >"$scratch/cut.py" <<'PYTHON'
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
PYTHON

for kind in ext4 xfs; do
    image=$scratch/$kind.img
    disk=$scratch/$kind
    mkdir "$disk"
    if ! command -v "mkfs.$kind" >/dev/null; then
        echo "power cuts: SKIPPED on $kind: there is no mkfs.$kind"
        continue
    fi
    truncate -s 512M "$image"
    "mkfs.$kind" -q "$image"
    if ! mount -o loop "$image" "$disk" 2>/dev/null; then
        echo "power cuts: SKIPPED on $kind: it cannot be mounted here"
        continue
    fi
    OTTLA_DISK=$disk \
        OTTLA_DISK_CUT="python3 $scratch/cut.py $disk" \
        OTTLA_DISK_BACK="umount $disk && mount -o loop $image $disk" \
        cargo test --quiet --test kill power:: -- --nocapture --test-threads=1 \
        >"$scratch/told" 2>&1 || {
        tail -50 "$scratch/told"
        exit 1
    }
    grep -oE 'power cuts.*' "$scratch/told"
    umount "$disk"
done

if ! command -v mkfs.btrfs >/dev/null; then
    echo "full disks: SKIPPED on btrfs: there is no mkfs.btrfs"
    exit 0
fi
image=$scratch/btrfs.img
disk=$scratch/btrfs
mkdir "$disk"
truncate -s 300M "$image"
mkfs.btrfs -q "$image"
if ! mount -o loop "$image" "$disk" 2>/dev/null; then
    echo "full disks: SKIPPED on btrfs: it cannot be mounted here"
    exit 0
fi
OTTLA_FULL_DISK=$disk cargo test --quiet --test full_disk -- --nocapture >"$scratch/told" 2>&1 || {
    tail -50 "$scratch/told"
    exit 1
}
grep -oE 'full disks.*' "$scratch/told"
umount "$disk"
