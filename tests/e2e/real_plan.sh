#!/usr/bin/env bash
# The main job on real input: six grids of CarbonCast's data, 4,161 jobs of the Azure trace, six regions.
# Reads AICSCHED_SHARED (the folder with data/) and OUT (where results go); prints the plan's JSON.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
AICSCHED_SHARED=$(cd "${AICSCHED_SHARED:-$root/../shared}" && pwd)
export AICSCHED_SHARED
data=$AICSCHED_SHARED/data
[ -d "$data" ] || data=$AICSCHED_SHARED
out=${OUT:?set OUT to a folder for the results}
[ -x "$root/.venv/bin/aicsched" ] || python3 "$root/do.py" setup >&2
bin=$root/.venv/bin
"$bin/python" "$here/make_real_input.py" --at 2021-10-04T00:00Z --out "$out/input" >&2
carbon=()
for zone in CISO PJM ERCO DE SE PL; do carbon+=("$data/carbon/ccast13_$zone.parquet"); done
"$bin/aicsched" plan --carbon "${carbon[@]}" --column ci_lifecycle --jobs "$out/input/jobs.csv" \
    --fleet "$out/input/fleet.json" --at 2021-10-04T00:00Z --horizon 96 --out "$out" --json
