#!/usr/bin/env bash
# The main job on real input: six grids of CarbonCast's data, 2,400 jobs of the Azure trace, six regions.
# Reads AICSCHED_SHARED (the folder with data/) and OUT (where results go); prints the plan's JSON.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
shared=${AICSCHED_SHARED:-$root/../shared}
out=${OUT:?set OUT to a folder for the results}
if [ ! -x "$root/.venv/bin/aicsched" ]; then
    python3 "$root/do.py" setup >&2
fi
bin=$root/.venv/bin
mkdir -p "$out"
"$bin/python" "$here/make_real_input.py" "$shared" "$out/input" >&2
carbon=()
for zone in CISO PJM ERCO DE SE PL; do carbon+=("$shared/data/carbon/ccast13_$zone.parquet"); done
"$bin/aicsched" plan --carbon "${carbon[@]}" --column ci_lifecycle --jobs "$out/input/jobs.csv" \
    --fleet "$out/input/fleet.json" --at 2021-10-04T00:00Z --horizon 120 --out "$out" --json
